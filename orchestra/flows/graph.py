"""What is a flow, once compiled? One graph of nodes, whatever it was written as.

Every node has a name, the nodes whose values it needs, and the nodes it only comes after. What a node does, waits for
and yields is its behaviour's business (``behaviour.py``): a new kind of node is a new dataclass here and a new
behaviour there, and neither the graph nor whoever advances it changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from orchestra.errors import DefinitionError
from orchestra.events.message import Command, Event, Message, spec_of
from orchestra.flows.decision import Answers
from orchestra.retry import Retry


class Kind(StrEnum):
    """What a step means to the flow around it."""

    COMPENSATABLE = "compensatable"
    PIVOT = "pivot"
    RETRIABLE = "retriable"
    READ_ONLY = "read_only"
    PLAIN = "plain"
    """A step of a flow that is no saga, without undo."""

    @property
    def insists(self) -> bool:
        """Whether an unknown outcome is retried without end."""
        return self in (Kind.PIVOT, Kind.RETRIABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphNode:
    """Something that must be done, or be so, before what follows it."""

    name: str
    needs: tuple[str, ...] = ()
    """Nodes whose values it is given, in this order."""
    after: tuple[str, ...] = ()
    """Nodes that must be done first, and give it nothing."""

    @property
    def before(self) -> tuple[str, ...]:
        """All nodes that must be done first, each once."""
        return tuple(dict.fromkeys((*self.needs, *self.after)))

    def describe(self) -> dict[str, object]:
        """What the digest is made of: whatever running instances rely on, and nothing that may be tuned under them."""
        return {"needs": self.needs, "after": self.after}

    def topics(self) -> Iterable[str]:
        """The declared topics that its messages go to."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoPart:
    """How a step is undone. ``make`` is None for the built-in ``Undo``."""

    make: Callable[..., Command[Any, Any]] | None
    label: str
    command: type[Command[Any, Any]]
    timeout: float
    retry: Retry


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNode(GraphNode):
    """One command and its outcome; it yields the reply."""

    kind: Kind
    make: Callable[..., Command[Any, Any]]
    command: type[Command[Any, Any]]
    timeout: float | None
    retry: Retry
    undo: UndoPart | None = None

    def describe(self) -> dict[str, object]:
        undo = self.undo and {"command": described(self.undo.command), "built_in": self.undo.make is None}
        return {
            **super(StepNode, self).describe(),
            "form": "step",
            "kind": self.kind,
            "command": described(self.command),
            "undo": undo,
        }

    def topics(self) -> Iterable[str]:
        commands = [self.command] if self.undo is None else [self.command, self.undo.command]
        return [topic for command in commands if (topic := spec_of(command).topic)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndPart:
    """What a flow publishes when it is over."""

    label: str
    make: Callable[..., Any]
    needs: tuple[str, ...]
    events: tuple[type[Event], ...]


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A whole flow. ``nodes`` are in an order in which each comes after what it needs."""

    name: str
    version: int
    label: str
    """The class, for messages to people."""
    owner: type
    saga: bool
    starts: Mapping[str, type[Event]]
    nodes: Mapping[str, GraphNode] = field(default_factory=dict[str, GraphNode])
    completed: EndPart | None = None
    compensated: EndPart | None = None

    @cached_property
    def followers(self) -> Mapping[str, Sequence[str]]:
        """The nodes that directly follow each node."""
        return {name: [node.name for node in self.nodes.values() if name in node.before] for name in self.nodes}

    @cached_property
    def descendants(self) -> Mapping[str, frozenset[str]]:
        """All nodes that come after each node, directly or not."""
        found: dict[str, frozenset[str]] = {}
        for name in reversed(tuple(self.nodes)):
            direct = self.followers[name]
            found[name] = frozenset(direct).union(*(found[other] for other in direct))
        return found

    @cached_property
    def digest(self) -> str:
        """Equal for equal graphs on any machine. Timeouts and retries may be tuned without changing it."""
        ends = {
            part: end and {"needs": end.needs, "events": [described(event) for event in end.events]}
            for part, end in (("completed", self.completed), ("compensated", self.compensated))
        }
        whole = {
            "name": self.name,
            "saga": self.saga,
            "starts": [described(event) for event in self.starts.values()],
            "nodes": self.parts,
            **ends,
        }
        return hashlib.sha256(json.dumps(whole, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:32]

    @cached_property
    def parts(self) -> Mapping[str, dict[str, object]]:
        """What the digest is made of, by node."""
        return {name: node.describe() for name, node in self.nodes.items()}

    @cached_property
    def answers(self) -> Mapping[str, Answers]:
        """What may answer each command, by the command's CloudEvents type."""
        steps = [node for node in self.nodes.values() if isinstance(node, StepNode)]
        commands = [
            command for node in steps for command in (node.command, *([node.undo.command] if node.undo else ()))
        ]
        return {spec_of(one).type: Answers(one, *_answers(one)) for one in commands}

    @cached_property
    def topics(self) -> Sequence[str]:
        """The declared topics that the flow's messages go to, each once."""
        ends = [event for end in (self.completed, self.compensated) if end for event in end.events]
        of_ends = [topic for event in ends if (topic := spec_of(event).topic)]
        of_nodes = [topic for node in self.nodes.values() for topic in node.topics()]
        return list(dict.fromkeys((*of_nodes, *of_ends)))


def _answers(command: type[Command[Any, Any]]) -> tuple[tuple[type[Event], ...], tuple[type[Event], ...]]:
    spec = spec_of(command)
    return tuple(spec.replies), tuple(spec.rejections)


def described(message: type[Message]) -> dict[str, object]:
    """What running instances rely on of a message's class."""
    spec = spec_of(message)
    return {
        "type": spec.type,
        "topic": spec.topic,
        "replies": sorted(spec_of(reply).type for reply in spec.replies),
        "rejections": sorted(spec_of(rejection).type for rejection in spec.rejections),
    }


def in_order(label: str, nodes: Iterable[GraphNode]) -> dict[str, GraphNode]:
    """The nodes by name, each after those it comes after; otherwise as they were declared.

    Raises:
        DefinitionError: a name is used twice, or is unknown, or nodes wait for each other.
    """
    waiting: dict[str, GraphNode] = {}
    for node in nodes:
        if node.name in waiting:
            raise DefinitionError(f"{label}.{node.name}: the name is used twice; rename one of the two nodes")
        waiting[node.name] = node
    _all_known(label, waiting)
    ordered: dict[str, GraphNode] = {}
    while waiting:
        ready = [node for node in waiting.values() if all(name in ordered for name in node.before)]
        if not ready:
            ring = ", ".join(waiting)
            raise DefinitionError(f"{label}: {ring} wait for each other; take one of these dependencies away")
        first = ready[0]
        ordered[first.name] = waiting.pop(first.name)
    return ordered


def _all_known(label: str, nodes: Mapping[str, GraphNode]) -> None:
    for node in nodes.values():
        for name in node.before:
            if name not in nodes:
                have = ", ".join(nodes)
                raise DefinitionError(f"{label}.{node.name}: it needs {name!r}, which the flow has not; it has {have}")
