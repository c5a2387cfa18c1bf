"""What does it look like, what has changed between two versions of a flow?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orchestra.flows.difference import Difference
from orchestra.flows.flow_picture import COMPENSATED, COMPLETED, START
from orchestra.flows.picture import LineKind, Mark, Picture

_SHAPES = {"(flow)": START, "(completed)": COMPLETED, "(compensated)": COMPENSATED}
_MARKS = {"added": Mark.NEW, "changed": Mark.CHANGED, "removed": Mark.GONE}


def picture_of_difference(old: Picture, new: Picture, changes: Sequence[Difference]) -> Picture:
    """The new version; what is new or changed is marked, and what is gone still stands there, with what led to it."""
    there = {shape.id for shape in new.nodes}
    marks = {_SHAPES.get(change.part, change.part): _MARKS[change.how] for change in changes}
    for name, mark in marks.items():
        if name in _SHAPES.values() and mark is not Mark.CHANGED:
            marks[name] = Mark.CHANGED  # a flow always begins and ends, whatever it says
    gone = [replace(shape, mark=Mark.GONE, group=None) for shape in old.nodes if shape.id not in there]
    lost = {shape.id for shape in gone}
    lines = [
        replace(line, kind=LineKind.TROUBLE, label="")
        for line in old.edges
        if line.start in lost or (line.end in lost and line.kind is not LineKind.UNDO)
    ]
    known = there | lost
    return replace(
        new,
        title=_title(old, new),
        nodes=[*(replace(shape, mark=marks.get(shape.id)) for shape in new.nodes), *gone],
        edges=[*new.edges, *(line for line in lines if line.start in known and line.end in known)],
        legend=[mark for mark in (Mark.NEW, Mark.CHANGED, Mark.GONE) if mark in marks.values()],
    )


def _title(old: Picture, new: Picture) -> str:
    (name, _, _), (same, _, version) = old.title.rpartition(", "), new.title.rpartition(", ")
    return f"{old.title} → {version if name == same else new.title}"
