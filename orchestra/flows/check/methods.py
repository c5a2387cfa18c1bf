"""Do a flow's methods always answer the same, and do they keep their hands off the world?

Each is called twice on samples of what it says that it takes, once for each alternative: a reply and None, a value and
a failure.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from functools import partial
from typing import Any, Union, get_args, get_origin, get_type_hints

from orchestra.events.envelope import Envelope
from orchestra.events.message import Event, Message, record_key
from orchestra.flows.approval import Approval
from orchestra.flows.check.findings import Finding
from orchestra.flows.check.model import START_TIME, envelope
from orchestra.flows.check.purity import run_watched
from orchestra.flows.check.samples import NoSampleError, sample, sample_of
from orchestra.flows.draft import Draft
from orchestra.flows.failure import Cause, Failure
from orchestra.flows.graph import Graph, GraphNode, StepNode
from orchestra.flows.instance import Instance, dump_event
from orchestra.flows.machine.chart import Chart
from orchestra.flows.machine.instance import MachineInstance
from orchestra.flows.machine.state import Data
from orchestra.flows.machine.turn import Turn
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
        caller = _Caller(graph.label, partial(_flow_started_by, graph, _started(start)))
        for node in graph.nodes.values():
            yield from _of_node(caller, node)
        for end in (graph.completed, graph.compensated):
            if end is not None:
                yield from caller.findings(end.make, None)


def machine_method_findings(chart: Chart) -> Iterator[Finding]:
    """What is wrong with the methods of a machine."""
    data = sample_of(chart.data, f"{chart.label}, its data")
    for start in chart.starts.values():
        caller = _Caller(chart.label, partial(_machine_started_by, chart, _started(start), data))
        for method in dict.fromkeys(_methods_of_chart(chart)):
            yield from caller.findings(method, None)


def _started(start: type[Event]) -> Envelope:
    return envelope(sample(start), "start")


def _flow_started_by(graph: Graph, event: Envelope) -> object:
    instance = Instance.begun(event, id="check", run=0, now=to_micros(START_TIME), load=_no_nodes)
    return Draft(graph, instance, START_TIME).flow(None)


def _machine_started_by(chart: Chart, event: Envelope, data: Data) -> object:
    text = data.__pydantic_serializer__.to_json(data).decode()
    now = to_micros(START_TIME)
    instance = MachineInstance(id="check", run=0, started=now, start_raw=dump_event(event), data=text)
    return Turn(chart, instance, START_TIME).me()


def _of_node(caller: _Caller, node: GraphNode) -> Iterator[Finding]:
    for method in methods_of(node):
        is_make = isinstance(node, StepNode) and method is node.make
        yield from caller.findings(method, node.command if is_make and isinstance(node, StepNode) else None)
    if isinstance(node, StepNode) and node.undo is not None and node.undo.make is not None:
        yield from caller.findings(node.undo.make, node.undo.answers.command)
        yield from caller.keys(node, node.undo.make)


class _Caller:
    """Calls methods of a flow that one kind of event has started. ``me`` makes what they get as self."""

    def __init__(self, label: str, me: Callable[[], object]) -> None:
        self._label = label
        self._me = me

    def findings(self, method: Callable[..., Any], wanted: type[Message] | None) -> Iterator[Finding]:
        place = f"{self._label}.{method.__name__}"
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
                made, barred = run_watched(lambda: method(self._me(), *arguments))
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

    def keys(self, node: StepNode, undo: Callable[..., Any]) -> Iterator[Finding]:
        """A compensation has its action's key, or it could overtake it."""
        place = f"{self._label}.{undo.__name__}"
        try:
            actions = [node.make(self._me(), *case) for case in _cases(node.make, place)]
            undos = [undo(self._me(), *case) for case in _cases(undo, place)]
            keys, undo_keys = ({record_key(one) for one in made} for made in (actions, undos))
        except Exception:
            return  # that is said elsewhere
        if not undo_keys <= keys:
            text = f"with samples, its record key is {_keys(undo_keys)}, and that of {node.name!r} is {_keys(keys)}: a "
            text += "compensation has the key of its action, or it could overtake it"
            yield Finding("warning", "other key", place, text)


def _keys(keys: set[bytes | None]) -> str:
    return " or ".join(sorted((key or b"").decode() for key in keys))


def _no_nodes(name: str, raw: Any) -> Any:
    raise KeyError(name)


def _methods_of_chart(chart: Chart) -> Iterator[Callable[..., Any]]:
    if chart.begin is not None:
        yield chart.begin
    for state in chart.states.values():
        for one in (*state.timers, *(each for many in state.transitions.values() for each in many)):
            yield from methods_of(one)
            yield from methods_of(one.action) if one.action is not None else ()
        for doer in (*state.entries, *state.exits):
            yield from methods_of(doer)


def methods_of(part: Any) -> Iterator[Callable[..., Any]]:
    """The user's methods that a node, or a part of a machine, calls; those of its undo apart."""
    for one in fields(part):
        value = getattr(part, one.name)
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
