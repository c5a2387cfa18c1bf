"""What of a flow is explored? Its graph, with everything taken out that the engine does not look at.

Methods that make messages are replaced by ones that give a sample at once, guards by an oracle that answers both ways,
and of a retry policy's tries two are left: one that is followed by another, and a last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from orchestra.events.attributes import Value
from orchestra.events.envelope import Envelope, compose
from orchestra.events.message import Event, Message
from orchestra.flows.check.samples import sample
from orchestra.flows.decide import CompiledFlow
from orchestra.flows.decision import Answers, Definition, instance_id
from orchestra.flows.graph import (
    ApprovalNode,
    CallNode,
    EndPart,
    ForEachNode,
    Graph,
    GraphNode,
    JoinNode,
    Kind,
    RepeatNode,
    StepNode,
    UndoPart,
    WaitNode,
)
from orchestra.flows.timer import from_micros
from orchestra.retry import Retry

START_TIME = from_micros(1_767_225_600_000_000)
"""When every history begins: the first second of 2026."""
EXPLORED_TRIES = 2
EXPLORED_AT_ONCE = 2
"""Of the items that a step goes over: so many, or none."""
MOST_QUESTIONS = 10
"""Guards that are asked in one decision."""


class Oracle:
    """Answers guards. Whoever asks for all that may follow tries one answer after another: ``all_runs``."""

    def __init__(self) -> None:
        self._script: list[int] = []
        self._asked: list[int] = []
        self.exceeded = False
        """Some answers were not tried: whatever is found is no proof."""

    def choose(self, options: int) -> int:
        """A number below ``options``."""
        place = len(self._asked)
        self._asked.append(options)
        return self._script[place] if place < len(self._script) else 0

    def begin(self, script: Sequence[int]) -> None:
        """The next questions are answered like this, and all further ones with 0."""
        self._script, self._asked = list(script), []

    def perhaps(self) -> bool:
        """Yes, and in another run no. In one run so many questions can be asked: after that it is always no."""
        if len(self._asked) >= MOST_QUESTIONS:
            self.exceeded = True
            return False
        return self.choose(2) == 0

    def next_script(self) -> list[int] | None:
        """After a run: the answers of another one that was not made yet. None when there is none left."""
        given = [self._script[i] if i < len(self._script) else 0 for i in range(len(self._asked))]
        while given:
            if given[-1] + 1 < self._asked[len(given) - 1]:
                given[-1] += 1
                return given
            given.pop()
        return None


@dataclass(frozen=True, kw_only=True)
class Part:
    """What the rules know of one node, whoever wrote its behaviour."""

    name: str
    kind: str
    has_undo: bool = False
    before: tuple[str, ...] = ()
    after_it: frozenset[str] = frozenset()
    within: str | None = None
    """Of what a machine's state began: that state."""
    owed: bool = False
    """A machine is not over before it is done."""
    least: int | None = None
    """Of a join that takes failures upon itself: how many of the nodes before it must be done. None: all."""
    endless: bool = False
    """It may wait for ever, and says so: it has no timeout."""
    many: bool = False
    """Each of many items must be done."""
    sends: bool = True
    """It is a step: a service must answer it."""
    roles: tuple[str, ...] = ()
    """Who may decide, where it is an approval."""
    requester: bool = False
    """Whoever asked for it may not decide."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A definition made ready to be explored."""

    definition: Definition
    graph: Graph | None
    """None for what is no graph of nodes."""
    start: Envelope
    instance: str
    oracle: Oracle = field(default_factory=Oracle)
    parts: Mapping[str, Part] = field(default_factory=dict[str, Part])
    events: Mapping[str, Event] = field(default_factory=dict[str, Event])
    """A sample of each event that it listens to, by type."""
    twins: Sequence[Sequence[str]] = ()
    """Nodes that can change places without a difference."""

    called: bool = False
    """Another flow has started it, waits for its end, and may ask for its undoing."""
    answered: Mapping[tuple[str, str], Answers] = field(default_factory=dict[tuple[str, str], Answers])
    """What may answer what is sent, by step and phase."""


CALLER: Mapping[str, Value] = {
    "effectid": "caller/key-1/0/step/action/0",
    "flowid": "caller/key-1",
    "replyto": "caller.inbox",
    "replypartition": 0,
}
"""What the start event of a flow that is called says of its caller."""


def model_of_flow(definition: CompiledFlow, start: type[Event] | None = None, *, called: bool = False) -> Model:
    """What to explore of a flow, begun by one of its start events (by default the first).

    Raises:
        NoSampleError: a message cannot be made from its class.
    """
    graph = definition.graph
    oracle = Oracle()
    simplified = replace(
        graph,
        nodes={name: _simplified(node, oracle) for name, node in graph.nodes.items()},
        completed=graph.completed and _ending(graph.completed),
        compensated=graph.compensated and _ending(graph.compensated),
    )
    compiled = CompiledFlow(simplified)
    event = envelope(sample(start or next(iter(graph.starts.values()))), "start", **(CALLER if called else {}))
    return Model(
        definition=compiled,
        graph=simplified,
        start=event,
        instance=instance_id(compiled.name, compiled.key_of(event)),
        oracle=oracle,
        parts={name: _part(graph, node) for name, node in graph.nodes.items()},
        events={kind: sample(waits[0].event) for kind, waits in graph.waits.items()},
        twins=_twins(graph),
        called=called,
        answered=dict(_answers(graph)),
    )


def _answers(graph: Graph) -> Iterator[tuple[tuple[str, str], Answers]]:
    for name, node in graph.nodes.items():
        if isinstance(node, StepNode):
            yield (name, "action"), node.answers
            if node.undo is not None:
                yield (name, "undo"), node.undo.answers


def envelope(message: Message, id: str, **extensions: Value) -> Envelope:  # noqa: A002  the CloudEvents name
    """The event that carries a sample."""
    return compose(message, id=id, source="/check", time=START_TIME, extensions=extensions)


REQUESTER = "the requester"


def _simplified(node: GraphNode, oracle: Oracle) -> GraphNode:
    match node:
        case ForEachNode():
            limit = min(node.limit, EXPLORED_AT_ONCE)
            return replace(_loop(node, oracle), limit=limit, over=_some(oracle, [0, EXPLORED_AT_ONCE]))
        case RepeatNode():
            turns = min(node.at_most, EXPLORED_TRIES)
            return replace(_loop(node, oracle), at_most=turns, until=perhaps(oracle))
        case StepNode():
            return replace(
                node,
                make=always(sample(node.command)),
                retry=short(node.retry),
                undo=node.undo and _undo(node.undo),
                when=node.when and perhaps(oracle),
            )
        case WaitNode():
            return replace(node, where=node.where and perhaps(oracle))
        case ApprovalNode():
            return replace(node, requester=node.requester and always(REQUESTER))
        case _:
            return node


L = TypeVar("L", ForEachNode, RepeatNode)


def _loop(node: L, oracle: Oracle) -> L:
    item = _simplified(node.item, oracle)
    assert isinstance(item, StepNode)
    return replace(node, item=item, make=item.make, retry=item.retry, undo=item.undo)


def _some(oracle: Oracle, counts: Sequence[int]) -> Callable[..., Sequence[str]]:
    def items(*_: object) -> Sequence[str]:
        return [f"item {number}" for number in range(counts[oracle.choose(len(counts))])]

    return items


def _undo(part: UndoPart) -> UndoPart:
    make = part.make and always(sample(part.answers.command))
    return replace(part, make=make, retry=short(part.retry))


def _ending(part: EndPart) -> EndPart:
    return replace(part, make=always(sample(part.events[0]) if part.events else None))


def always(value: Any) -> Callable[..., Any]:
    """A method that gives the same, whatever it gets."""

    def make(*_: object) -> Any:
        return value

    return make


def perhaps(oracle: Oracle) -> Callable[..., bool]:
    """A guard that answers both ways."""

    def guard(*_: object) -> bool:
        return oracle.perhaps()

    return guard


def short(retry: Retry) -> Retry:
    """The policy with two tries at most."""
    return replace(retry, attempts=min(retry.attempts, EXPLORED_TRIES))


def _part(graph: Graph, node: GraphNode) -> Part:
    step = node if isinstance(node, StepNode) else None
    least = getattr(node, "at_least", 1) if isinstance(node, JoinNode) else None
    roles = (node.role, *(role for _, role in node.escalations)) if isinstance(node, ApprovalNode) else ()
    return Part(
        name=node.name,
        kind=step.kind if step else Kind.READ_ONLY,
        has_undo=step is not None and step.undo is not None,
        before=node.before,
        after_it=graph.descendants[node.name],
        least=least,
        endless=getattr(node, "timeout", 0) is None,
        many=isinstance(node, ForEachNode),
        sends=step is not None,
        roles=roles,
        requester=getattr(node, "requester", None) is not None,
    )


def _twins(graph: Graph) -> list[list[str]]:
    groups: dict[object, list[str]] = {}
    for name, node in graph.nodes.items():
        if type(node) in (StepNode, CallNode) and isinstance(node, StepNode):
            groups.setdefault(_looks(graph, node), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _looks(graph: Graph, node: StepNode) -> object:
    """Equal for steps that the engine cannot tell apart but by their names."""
    undo = node.undo and (short(node.undo.retry).attempts, node.undo.make is None, bool(node.undo.answers.rejections))
    around = (frozenset(node.before), frozenset(graph.followers[node.name]))
    how = (node.kind, short(node.retry).attempts, node.timeout is None, node.when is None, isinstance(node, CallNode))
    return (around, how, undo, bool(node.answers.rejections))
