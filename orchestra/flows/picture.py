"""What does a picture consist of? Plain values: shapes, lines between them, groups around them.

Whoever can be drawn gives a :class:`Picture`; ``orchestra/drawing`` makes Mermaid, DOT or SVG of it. A picture of a
flow is made by ``flow_picture.py``, one of a state machine by the machine itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from orchestra.errors import DefinitionError


class ShapeKind(StrEnum):
    """What a shape stands for; it decides the outline and the colour."""

    START = "start"
    """What begins it: an event from outside."""
    END = "end"
    """What it says when it is done."""
    BAD_END = "bad-end"
    """What it says when it failed and everything is undone."""
    STEP = "step"
    PIVOT = "pivot"
    RETRIABLE = "retriable"
    READ_ONLY = "read-only"
    ANY_OF = "any-of"
    SETTLED = "settled"
    DELAY = "delay"
    WAIT = "wait"
    APPROVAL = "approval"
    CALL = "call"
    FOR_EACH = "for-each"
    REPEAT = "repeat"
    STATE = "state"
    INITIAL = "initial"
    """The dot at which a state machine, or a group of states, begins."""
    FINAL = "final"
    """A final state."""
    SERVICE = "service"
    FLOW = "flow"
    EVENT = "event"
    COMMAND = "command"
    TROUBLE = "trouble"
    """Something that is wrong."""


class PartKind(StrEnum):
    """What a compartment at the foot of a shape stands for."""

    UNDO = "undo"
    ENTRY = "entry"
    EXIT = "exit"
    INSIDE = "inside"
    """Anything else that belongs to the shape."""


class LineKind(StrEnum):
    """What a line between two shapes means."""

    NEXT = "next"
    """What comes after; where there is data, it is handed on."""
    AFTER = "after"
    """What comes after, without data."""
    UNDO = "undo"
    """What follows when something failed."""
    TIMER = "timer"
    """What follows when time has passed."""
    TROUBLE = "trouble"
    """What should not be there."""


class GroupKind(StrEnum):
    """What a frame around shapes means."""

    STATE = "state"
    """A state with states inside."""
    REGION = "region"
    """One of several parts that go on side by side."""
    BLOCK = "block"


class Mark(StrEnum):
    """How far an instance is with a shape, or what became of it. Without marks it is the definition alone."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    UNDONE = "undone"
    SKIPPED = "skipped"
    NOT_REACHED = "not reached"
    NEW = "new"
    """In a picture of what has changed; and so the two below."""
    CHANGED = "changed"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A compartment at the foot of a shape: how a step is undone, what a state does on entry.

    Attributes:
        label: one short line.
        name: the ``StepView`` that tells how far it is, if one does.
    """

    label: str
    kind: PartKind = PartKind.INSIDE
    name: str | None = None
    mark: Mark | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One thing in a picture.

    Attributes:
        id: unique among shapes and groups; also the name of the ``StepView`` that tells how far it is.
        label: what it is called, in one line; "" for an initial dot.
        detail: short lines below, smaller.
        group: the id of the group that it stands in.
        caption: a few words above the name, in place of those of its kind.
        is_optional: it may be left out.
    """

    id: str
    label: str
    kind: ShapeKind
    detail: Sequence[str] = ()
    parts: Sequence[Part] = ()
    group: str | None = None
    mark: Mark | None = None
    caption: str | None = None
    is_optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An arrow. ``start`` and ``end`` are ids of shapes or of groups; both may be the same shape."""

    start: str
    end: str
    label: str = ""
    kind: LineKind = LineKind.NEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A frame around shapes, and around other groups. ``parent`` is the group that it stands in."""

    id: str
    label: str
    kind: GroupKind = GroupKind.BLOCK
    detail: Sequence[str] = ()
    parent: str | None = None
    mark: Mark | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A whole picture. Shapes are drawn in an order near to the one they come in.

    Raises:
        DefinitionError: an id is there twice, or a line, shape or group names one that is not there.
    """

    title: str
    nodes: Sequence[Shape]
    edges: Sequence[Line] = ()
    groups: Sequence[Group] = ()
    subtitle: str = ""
    is_wide: bool = False
    """Drawn from left to right, and not from top to bottom."""
    legend: Sequence[Mark] = ()
    """The marks to explain."""
    notes: Sequence[str] = ()
    """Sentences below the picture."""

    def __post_init__(self) -> None:
        groups = {group.id for group in self.groups}
        ids = [node.id for node in self.nodes]
        known = groups.union(ids)
        if len(known) < len(ids) + len(self.groups):
            twice = sorted({one for one in ids if ids.count(one) > 1 or one in groups}) or sorted(groups)
            raise DefinitionError(f"picture {self.title!r}: an id is there twice; see {', '.join(twice)}")
        for line in self.edges:
            for end in (line.start, line.end):
                if end not in known:
                    raise DefinitionError(f"picture {self.title!r}: a line names {end!r}, which is not there")
        inside = {one for one in (*(n.group for n in self.nodes), *(g.parent for g in self.groups)) if one is not None}
        if missing := inside - groups:
            raise DefinitionError(f"picture {self.title!r}: there is no group {', '.join(sorted(missing))}")
