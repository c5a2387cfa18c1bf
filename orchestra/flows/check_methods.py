"""Do a flow's methods always answer the same, and do they keep their hands off the world?

Each is called twice on samples of what it says that it takes, once for each alternative: a reply and None, a value and
a failure.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from typing import Any, Union, get_args, get_origin, get_type_hints

from orchestra.errors import EncodeError
from orchestra.events.message import Event, Message, record_key
from orchestra.flows.approval import Approval
from orchestra.flows.check_findings import Finding
from orchestra.flows.check_model import START_TIME, envelope
from orchestra.flows.check_purity import run_watched
from orchestra.flows.check_samples import NoSampleError, sample, sample_of
from orchestra.flows.draft import Draft
from orchestra.flows.failure import Cause, Failure
from orchestra.flows.graph import Graph, GraphNode, StepNode
from orchestra.flows.instance import Instance
from orchestra.flows.timer import to_micros

_FAILURES = (
    Failure(step="reserve", cause=Cause.UNKNOWN, reason="no answer", dead_letter_id="dead-1"),
    Failure(step=None, cause=Cause.CANCELLED, reason="cancelled"),
)
_APPROVALS = (
    Approval(approved=True, by="ann", reason="it is fine", at=START_TIME),
    Approval(approved=False, by=None, reason="nobody decided", at=START_TIME),
)


def method_findings(graph: Graph) -> Iterator[Finding]:
    """What is wrong with the methods of a flow."""
    for start in graph.starts.values():
        caller = _Caller(graph, start)
        for node in graph.nodes.values():
            yield from caller.of_node(node)
        for end in (graph.completed, graph.compensated):
            if end is not None:
                yield from caller.findings(end.make, None)


class _Caller:
    """Calls methods of a flow that one kind of event has started."""

    def __init__(self, graph: Graph, start: type[Event]) -> None:
        self._graph = graph
        event = envelope(sample(start), "start")
        instance = Instance.begun(event, id="check", run=0, now=to_micros(START_TIME), load=_no_nodes)
        self._draft = Draft(graph, instance, START_TIME)

    def of_node(self, node: GraphNode) -> Iterator[Finding]:
        for method in methods_of(node):
            is_make = isinstance(node, StepNode) and method is node.make
            yield from self.findings(method, node.command if is_make and isinstance(node, StepNode) else None)
        if isinstance(node, StepNode) and node.undo is not None and node.undo.make is not None:
            yield from self.findings(node.undo.make, node.undo.answers.command)
            yield from self._keys(node, node.undo.make)

    def findings(self, method: Callable[..., Any], wanted: type[Message] | None) -> Iterator[Finding]:
        place = f"{self._graph.label}.{method.__name__}"
        try:
            cases = list(_cases(method, place))
        except NoSampleError as error:
            yield Finding("mistake", "no sample", place, str(error))
            return
        for arguments in cases:
            finding = self._finding(place, method, arguments, wanted)
            if finding is not None:
                yield finding
                return

    def _finding(
        self, place: str, method: Callable[..., Any], arguments: Sequence[Any], wanted: type[Message] | None
    ) -> Finding | None:
        given = ", ".join(_short(one) for one in arguments) or "no arguments"
        results: list[Any] = []
        for _ in range(2):
            try:
                made, barred = run_watched(lambda: method(self._draft.flow(None), *arguments))
            except Exception as error:
                text = f"it raises {type(error).__name__}: {error}, given {given}. Where that is no input it will get, "
                text += "say what is: Field(examples=[...])"
                return Finding("mistake", "method raises", place, text)
            if barred is not None:
                return Finding("mistake", "not deterministic", place, f"it calls {barred.call}: {barred.why}")
            results.append(made)
        if results[0] != results[1]:
            text = f"called twice with {given}, it returned {_short(results[0])} and then {_short(results[1])}"
            return Finding("mistake", "not deterministic", place, text)
        if wanted is not None and type(results[0]) is not wanted:
            text = f"it returned {type(results[0]).__name__}, and says that it returns {wanted.__name__}"
            return Finding("mistake", "wrong result", place, text)
        return None

    def _keys(self, node: StepNode, undo: Callable[..., Any]) -> Iterator[Finding]:
        """A compensation has its action's key, or it could overtake it."""
        place = f"{self._graph.label}.{undo.__name__}"
        try:
            actions = [node.make(self._draft.flow(None), *case) for case in _cases(node.make, place)]
            undos = [undo(self._draft.flow(None), *case) for case in _cases(undo, place)]
            keys, undo_keys = ({record_key(one) for one in made} for made in (actions, undos))
        except (Exception, EncodeError):
            return  # that is said elsewhere
        if not undo_keys <= keys:
            text = f"with samples, its record key is {_keys(undo_keys)}, and that of {node.name!r} is {_keys(keys)}: a "
            text += "compensation has the key of its action, or it could overtake it"
            yield Finding("warning", "other key", place, text)


def _keys(keys: set[bytes | None]) -> str:
    return " or ".join(sorted((key or b"").decode() for key in keys))


def _no_nodes(name: str, raw: Any) -> Any:
    raise KeyError(name)


def methods_of(node: GraphNode) -> Iterator[Callable[..., Any]]:
    """The flow's methods that a node calls, those of its undo apart."""
    for part in fields(node):
        value = getattr(node, part.name)
        if inspect.isfunction(value) and next(iter(inspect.signature(value).parameters), "") == "self":
            yield value


# ---- arguments


def _cases(method: Callable[..., Any], place: str) -> Iterator[list[Any]]:
    """Arguments: samples of the first alternative of each; then each other alternative, one at a time."""
    hints = get_type_hints(method)
    names = list(inspect.signature(method).parameters)[1:]
    options = [_values(hints.get(name, None), f"{place}, {name}") for name in names]
    first = [values[0] for values in options]
    yield first
    for position, values in enumerate(options):
        for other in values[1:]:
            yield [*first[:position], other, *first[position + 1 :]]


def _values(annotation: Any, place: str) -> list[Any]:
    origin = get_origin(annotation)
    if annotation in (None, type(None), Any):
        return [None]
    if origin in (Union, types.UnionType):
        return [value for part in get_args(annotation) for value in _values(part, place)]
    if annotation is Failure:
        return list(_FAILURES)
    if annotation is Approval:
        return list(_APPROVALS)
    if origin is tuple:
        return _tuples([_values(part, place) for part in get_args(annotation) if part is not Ellipsis])
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return [[value for part in get_args(annotation) for value in _values(part, place)]]
    if isinstance(annotation, type) and issubclass(annotation, Message):
        return [sample(annotation)]
    return [sample_of(annotation, place)]


def _tuples(options: list[list[Any]]) -> list[Any]:
    first = tuple(values[0] for values in options)
    others = [
        (*first[:position], other, *first[position + 1 :])
        for position, values in enumerate(options)
        for other in values[1:]
    ]
    return [first, *others]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
