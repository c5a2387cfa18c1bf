"""What do services and flows say of themselves? Their handlers' annotations and their graphs, read into a landscape."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from types import CodeType
from typing import Any

from orchestra.events.message import Message, spec_of
from orchestra.flows.decide import CompiledFlow
from orchestra.flows.decision import Definition
from orchestra.flows.graph import Graph, GraphNode, StepNode
from orchestra.flows.machine.chart import Chart, ChartState, Method, Run, Send
from orchestra.flows.machine.decide import CompiledMachine
from orchestra.landscape.actor import Actor, Landscape, Reaction, Signal
from orchestra.service.handler import Handler
from orchestra.service.service import Service

_EMITTERS = ("publish", "add")
"""Methods by which a handler emits beside what it returns: ``ctx.publish``, ``outbox.add``."""


def survey(services: Iterable[Service], definitions: Iterable[Definition]) -> Landscape:
    """The landscape of these services and flows. Versions of one flow count as one."""
    flows: dict[str, list[Definition]] = {}
    for definition in definitions:
        flows.setdefault(definition.name, []).append(definition)
    return Landscape(
        [
            *(Actor(name=one.name, kind="service", reactions=_of_service(one)) for one in services),
            *(Actor(name=name, kind="flow", reactions=_of_versions(versions)) for name, versions in flows.items()),
        ]
    )


def _signal(message: type[Message]) -> Signal:
    spec = spec_of(message)
    label = message.__name__.replace("[", " ").replace("]", "")
    return Signal(spec.type, label, spec.topic, spec.is_command)


def _signals(messages: Iterable[type[Message]]) -> tuple[Signal, ...]:
    return tuple(dict.fromkeys(map(_signal, messages)))


# ---- services


def _of_service(service: Service) -> tuple[Reaction, ...]:
    return tuple(_of_handler(handler) for handler in service.handlers)


def _of_handler(handler: Handler) -> Reaction:
    reads = handler.reads
    if reads.plain is not None:
        takes: tuple[Signal, ...] = (Signal(reads.plain.type, reads.plain.name, reads.plain.name, is_command=False),)
    else:
        takes = _signals(reads.messages)
    gives = () if handler.is_command else _signals(handler.answers)  # answers go to whoever sent the command
    known = {*handler.answers, *reads.messages}
    perhaps = [message for message in _named(handler) if message not in known]
    return Reaction(name=handler.name, takes=takes, patterns=reads.patterns, gives=gives, perhaps=_signals(perhaps))


def _named(handler: Handler) -> list[type[Message]]:
    """The messages with a topic that a handler's code names, where it emits by a call."""
    function = inspect.unwrap(handler.function)
    code = getattr(function, "__code__", None)
    if code is None:
        return []
    names = set(_names_in(code))
    if names.isdisjoint(_EMITTERS):
        return []
    values = [function.__globals__.get(name) for name in sorted(names)]
    return [value for value in values if _is_message(value) and spec_of(value).topic is not None]


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _names_in(part)


def _is_message(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Message) and not value.__orchestra_spec__.is_abstract


# ---- flows


def _of_versions(versions: Sequence[Definition]) -> tuple[Reaction, ...]:
    found = [reaction for version in versions for reaction in _of_definition(version)]
    merged: dict[tuple[str, tuple[Signal, ...]], Reaction] = {}
    for one in found:
        before = merged.get((one.name, one.takes))
        gives = one.gives if before is None else tuple(dict.fromkeys((*before.gives, *one.gives)))
        merged[one.name, one.takes] = replace(one, gives=gives)
    return tuple(merged.values())


def _of_definition(definition: Definition) -> Iterator[Reaction]:
    if isinstance(definition, CompiledFlow):
        yield from _of_graph(definition.graph)
    elif isinstance(definition, CompiledMachine):
        yield from _of_chart(definition.chart)


def _of_graph(graph: Graph) -> Iterator[Reaction]:
    ends = [event for end in (graph.completed, graph.compensated) if end for event in end.events]
    sent = [message for node in graph.nodes.values() for message in _sent_by(node)]
    yield Reaction(name=graph.name, takes=_signals(graph.starts.values()), gives=_signals((*sent, *ends)))
    for nodes in graph.waits.values():
        for node in nodes:
            after = [message for one in graph.descendants[node.name] for message in _sent_by(graph.nodes[one])]
            gives = _signals(sorted((*after, *ends), key=lambda message: spec_of(message).type))
            yield Reaction(name=f"{graph.name}.{node.name}", takes=_signals([node.event]), gives=gives)


def _sent_by(node: GraphNode) -> Iterator[type[Message]]:
    if isinstance(node, StepNode):
        yield node.command
        if node.undo is not None and not node.calls:
            yield node.undo.answers.command


def _of_chart(chart: Chart) -> Iterator[Reaction]:
    # What follows from answers and from time counts as following from the start.
    sent = [message for name in chart.roots for message in _on_entering(chart, name)]
    sent += [message for state in chart.states.values() for message in _on_leaving(state)]
    gives = _signals((*sent, *chart.published))
    yield Reaction(name=chart.name, takes=_signals(chart.starts.values()), gives=gives)
    for state in chart.states.values():
        for one in (transition for many in state.transitions.values() for transition in many):
            if one.event is not None:
                follows = _of_method(one.action)
                if one.to:
                    follows += [*_on_leaving(state), *_on_entering(chart, one.to)]
                yield Reaction(name=f"{chart.name}.{state.name}", takes=_signals([one.event]), gives=_signals(follows))


def _on_entering(chart: Chart, name: str) -> list[type[Message]]:
    """What is sent when a state is entered: its own, and of whatever may be entered within it."""
    state = chart.states[name]
    found: list[type[Message]] = []
    for one in state.entries:
        if isinstance(one, Send):
            found.append(one.command)
        elif isinstance(one, Run):
            found += one.starts
        elif isinstance(one, Method):
            found += _of_method(one)
    for child in state.children:
        found += _on_entering(chart, child)
    return found


def _on_leaving(state: ChartState) -> list[type[Message]]:
    found: list[type[Message]] = []
    for one in state.exits:
        found += [one.command] if isinstance(one, Send) else _of_method(one)
    return found


def _of_method(method: Method | None) -> list[type[Message]]:
    return [] if method is None else [one for one in method.gives if issubclass(one, Message)]
