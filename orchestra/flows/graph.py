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
from typing import Any, Literal

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

    @property
    def may_fail(self) -> bool:
        """Whether it can end in another way than done."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoPart:
    """How a step is undone. ``make`` is None for the built-in ``Undo``, and for a flow that is called."""

    make: Callable[..., Command[Any, Any]] | None
    label: str
    answers: Answers
    timeout: float
    retry: Retry


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNode(GraphNode):
    """One command and its outcome; it yields the reply, or None where its guard says no."""

    kind: Kind
    make: Callable[..., Message]
    answers: Answers
    timeout: float | None
    retry: Retry
    undo: UndoPart | None = None
    when: Callable[..., bool] | None = None
    """The guard: it gets what ``make`` gets."""

    @property
    def command(self) -> type[Message]:
        return self.answers.command

    @property
    def calls(self) -> str | None:
        """The flow that is its service, where one is."""
        return None

    @property
    def may_fail(self) -> bool:
        return self.kind is not Kind.RETRIABLE

    def describe(self) -> dict[str, object]:
        undo = self.undo and {"command": described(self.undo.answers), "built_in": self.undo.make is None}
        parts = {
            **super(StepNode, self).describe(),
            "form": "step",
            "kind": self.kind,
            "command": described(self.answers),
            "undo": undo,
        }
        return {**parts, "guarded": True} if self.when is not None else parts

    def topics(self) -> Iterable[str]:
        commands = [self.command] if self.undo is None else [self.command, self.undo.answers.command]
        return [topic for command in commands if (topic := spec_of(command).topic)]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallNode(StepNode):
    """Another flow, started as a child; it yields what that one says when it completes."""

    flow: str

    @property
    def calls(self) -> str:
        return self.flow

    def describe(self) -> dict[str, object]:
        return {**super(CallNode, self).describe(), "form": "call", "flow": self.flow}

    def topics(self) -> Iterable[str]:
        return ()  # the start goes to the coordinator's inbox


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopNode(StepNode):
    """A step that is done many times, each time as an effect of its own; at most ``limit`` are under way."""

    item: StepNode
    """How one of them goes."""
    limit: int = 1

    @property
    def calls(self) -> str | None:
        return self.item.calls

    def topics(self) -> Iterable[str]:
        return self.item.topics()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForEachNode(LoopNode):
    """Once for each of many items; it yields the replies, in order. ``make`` and its undo's get the item first."""

    over: Callable[..., Sequence[Any]]
    """Lists the items: it gets what the step needs."""
    tolerate: int = 0
    """How many items may fail: the failure stands in the place of the reply."""

    def describe(self) -> dict[str, object]:
        parts = {**super(ForEachNode, self).describe(), "form": "for_each", "calls": self.calls}
        return {**parts, "tolerates": True} if self.tolerate else parts


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatNode(LoopNode):
    """Again and again until a reply will do; it yields that one. ``make`` gets the previous reply first, or None."""

    until: Callable[..., bool]
    at_most: int
    every: float
    """Seconds between a reply and the next turn."""

    @property
    def may_fail(self) -> bool:
        return True  # its bound may be spent, whatever its kind

    def describe(self) -> dict[str, object]:
        return {**super(RepeatNode, self).describe(), "form": "repeat"}


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinNode(GraphNode):
    """Takes the failures of the branches before it upon itself. Each of ``needs`` is the end of a branch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyOfNode(JoinNode):
    """The first branch that is done; it yields that one's value. Fails when all have failed."""

    @property
    def may_fail(self) -> bool:
        return True

    def describe(self) -> dict[str, object]:
        return {**super(AnyOfNode, self).describe(), "form": "any_of"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledNode(JoinNode):
    """All branches, done or failed; it yields a tuple. Fails when fewer than ``at_least`` are done."""

    at_least: int

    @property
    def may_fail(self) -> bool:
        return self.at_least > 0

    def describe(self) -> dict[str, object]:
        return {**super(SettledNode, self).describe(), "form": "settled", "at_least": self.at_least}


OnTimeout = Literal["fail", "continue", "approve"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayNode(GraphNode):
    """A pause of so many seconds; it yields None."""

    delay: float

    def describe(self) -> dict[str, object]:
        return {**super(DelayNode, self).describe(), "form": "delay"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitNode(GraphNode):
    """An event from outside; it yields the event, or None where time is up and the flow may go on without it."""

    event: type[Event]
    by: Callable[[Any], str]
    """The business key of the instance that an event is for."""
    where: Callable[..., bool] | None
    timeout: float | None
    on_timeout: OnTimeout

    @property
    def may_fail(self) -> bool:
        return self.timeout is not None and self.on_timeout == "fail"

    def describe(self) -> dict[str, object]:
        spec = spec_of(self.event)
        event = {"type": spec.type, "topic": spec.topic}
        return {**super(WaitNode, self).describe(), "form": "wait", "event": event, "on_timeout": self.on_timeout}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalNode(GraphNode):
    """The decision of a person; it yields the decision."""

    role: str
    timeout: float | None
    on_timeout: OnTimeout
    on_reject: Literal["fail", "continue"]
    escalations: tuple[tuple[float, str], ...]
    """After so many seconds, who may decide as well."""
    requester: Callable[[Any], str] | None
    """Who may not decide."""

    @property
    def may_fail(self) -> bool:
        return self.on_reject == "fail" or (self.timeout is not None and self.on_timeout == "fail")

    def describe(self) -> dict[str, object]:
        return {
            **super(ApprovalNode, self).describe(),
            "form": "approval",
            "on_timeout": self.on_timeout,
            "on_reject": self.on_reject,
        }


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
    deadline: float | None = None
    """Seconds from its start in which it must be over."""

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
        whole = {
            "name": self.name,
            "saga": self.saga,
            "starts": [described_event(event) for event in self.starts.values()],
            "nodes": {name: node.describe() for name, node in self.nodes.items()},
            **self._ends(),
        }
        return hashlib.sha256(json.dumps(whole, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:32]

    def _ends(self) -> dict[str, dict[str, object] | None]:
        return {
            part: None if end is None else {"needs": end.needs, "events": list(map(described_event, end.events))}
            for part, end in (("completed", self.completed), ("compensated", self.compensated))
        }

    @cached_property
    def parts(self) -> Mapping[str, dict[str, object]]:
        """What the digest is made of: by node, and in parentheses what belongs to the flow as a whole."""
        starts = [described_event(event) for event in self.starts.values()]
        return {
            "(flow)": {"form": "saga" if self.saga else "flow", "starts": starts},
            **{name: node.describe() for name, node in self.nodes.items()},
            **{f"({name})": end for name, end in self._ends().items() if end is not None},
        }

    @cached_property
    def ancestors(self) -> Mapping[str, frozenset[str]]:
        """All nodes that come before each node, directly or not."""
        found: dict[str, frozenset[str]] = {}
        for name, node in self.nodes.items():
            found[name] = frozenset(node.before).union(*(found[other] for other in node.before))
        return found

    @cached_property
    def guards(self) -> Mapping[str, str]:
        """The join that takes a node's failure upon itself, where one does: whatever way leads on from the node leads
        into that join. The failure of any other node is the flow's."""
        found: dict[str, str] = {}
        for name in reversed(tuple(self.nodes)):
            joins = {
                other if isinstance(self.nodes[other], JoinNode) else found.get(other, "")
                for other in self.followers[name]
            }
            if len(joins) == 1 and (join := joins.pop()):
                found[name] = join
        return found

    @cached_property
    def joins(self) -> Sequence[JoinNode]:
        """The joins that take failures upon themselves, inner ones first."""
        return [node for node in self.nodes.values() if isinstance(node, JoinNode)]

    @cached_property
    def branches(self) -> Mapping[str, Sequence[frozenset[str]]]:
        """For each of those joins the nodes of each branch: the end of the branch, and what only leads to the join."""
        return {
            join.name: [
                frozenset(one for one in (end, *self.ancestors[end]) if self._is_inside(one, join.name))
                for end in join.needs
            ]
            for join in self.joins
        }

    def _is_inside(self, name: str, join: str) -> bool:
        guard = self.guards.get(name)
        while guard is not None and guard != join:
            guard = self.guards.get(guard)
        return guard == join

    @cached_property
    def answers(self) -> Mapping[str, Answers]:
        """What may answer each command, by the command's CloudEvents type."""
        steps = [node for node in self.nodes.values() if isinstance(node, StepNode)]
        # The undo of a call goes by the event that starts the flow: what answers that comes last, and counts.
        found = [node.undo.answers for node in steps if node.undo is not None] + [node.answers for node in steps]
        return {spec_of(one.command).type: one for one in found}

    @cached_property
    def waits(self) -> Mapping[str, Sequence[WaitNode]]:
        """The nodes that wait for each type of event."""
        found: dict[str, list[WaitNode]] = {}
        for node in self.nodes.values():
            if isinstance(node, WaitNode):
                found.setdefault(spec_of(node.event).type, []).append(node)
        return found

    @cached_property
    def calls(self) -> Sequence[str]:
        """The flows that it calls, each once."""
        found = [node.calls for node in self.nodes.values() if isinstance(node, StepNode) and node.calls]
        return list(dict.fromkeys(found))

    @property
    def insists(self) -> bool:
        """Whether it has a point of no return."""
        return any(isinstance(node, StepNode) and node.kind.insists for node in self.nodes.values())

    @cached_property
    def topics(self) -> Sequence[str]:
        """The declared topics that the flow's messages go to, each once."""
        ends = [event for end in (self.completed, self.compensated) if end for event in end.events]
        of_ends = [topic for event in ends if (topic := spec_of(event).topic)]
        of_nodes = [topic for node in self.nodes.values() for topic in node.topics()]
        return list(dict.fromkeys((*of_nodes, *of_ends)))


def answers_of(command: type[Command[Any, Any]]) -> Answers:
    """What may answer a command."""
    spec = spec_of(command)
    return Answers(command, tuple(spec.replies), tuple(spec.rejections))


def described(answers: Answers) -> dict[str, object]:
    """What running instances rely on of a command."""
    spec = spec_of(answers.command)
    return {
        "type": spec.type,
        "topic": spec.topic,
        "replies": sorted(spec_of(reply).type for reply in answers.replies),
        "rejections": sorted(spec_of(rejection).type for rejection in answers.rejections),
    }


def described_event(event: type[Message]) -> dict[str, object]:
    """What they rely on of an event."""
    return described(Answers(event, (), ()))


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
