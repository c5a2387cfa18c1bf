"""What of a state machine is explored? Its chart, with its methods taken out, and guards that answer both ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

from orchestra.events.message import Done, Event, FlowFailed
from orchestra.flows.check.model import REQUESTER, Model, Oracle, Part, always, envelope, perhaps, short
from orchestra.flows.check.samples import sample, sample_of
from orchestra.flows.decision import Answers, instance_id
from orchestra.flows.machine.chart import Ask, Chart, ChartState, Doer, Method, Run, Send, Transition
from orchestra.flows.machine.decide import CompiledMachine


def model_of_machine(definition: CompiledMachine, start: type[Event] | None = None) -> Model:
    """What to explore of a machine.

    Raises:
        NoSampleError: a message, or the data, cannot be made from its class.
    """
    chart, oracle = definition.chart, Oracle()
    data = sample_of(chart.data, f"{chart.label}, its data") if chart.begin is not None else None
    compiled = CompiledMachine(
        replace(
            chart,
            begin=None if data is None else always(data),
            states={name: _state(state, oracle) for name, state in chart.states.items()},
        )
    )
    event = envelope(sample(start or next(iter(chart.starts.values()))), "start")
    return Model(
        definition=compiled,
        graph=None,
        start=event,
        instance=instance_id(compiled.name, compiled.key_of(event)),
        oracle=oracle,
        parts={part.name: part for part in _parts(chart)},
        events={kind: sample(cls) for kind, cls in chart.events.items()},
        answered=dict(_answers(chart)),
    )


def _state(state: ChartState, oracle: Oracle) -> ChartState:
    return replace(
        state,
        transitions={
            trigger: tuple(_transition(one, oracle) for one in many) for trigger, many in state.transitions.items()
        },
        timers=tuple(_transition(one, oracle) for one in state.timers),
        entries=tuple(map(_doer, state.entries)),
        exits=tuple(map(_doer, state.exits)),
    )


def _transition(one: Transition, oracle: Oracle) -> Transition:
    return replace(
        one,
        when=one.when and perhaps(oracle),
        action=one.action and replace(one.action, make=always(None)),
        delay=always(timedelta(hours=1)) if callable(one.delay) else one.delay,
    )


def _doer(one: Doer) -> Any:
    match one:
        case Method():
            return replace(one, make=always(None))
        case Send():
            return replace(one, make=always(sample(one.command)), retry=short(one.retry))
        case Run():
            return replace(one, make=always(sample(one.starts[0])))
        case Ask():
            return replace(one, requester=one.requester and always(REQUESTER))


def _answers(chart: Chart) -> Iterator[tuple[tuple[str, str], Answers]]:
    for sent in chart.sends.values():
        yield (sent.name, "action"), sent.answers
    for run in chart.runs.values():
        yield (run.name, "action"), Answers(run.starts[0], (run.yields,), (FlowFailed,))
        yield (run.name, "undo"), Answers(run.starts[0], (Done,), (FlowFailed,))


def _parts(chart: Chart) -> Iterator[Part]:
    for state in chart.states.values():
        waits = any(trigger.startswith("event:") for trigger in state.transitions)
        yield Part(name=state.name, kind="state", sends=False, endless=waits)
    for sent in chart.sends.values():
        endless = sent.timeout is None
        yield Part(name=sent.name, kind="command", within=sent.state, owed=sent.is_owed, endless=endless)
    for run in chart.runs.values():
        # The flow that runs has its own timeouts, and it always answers in the end.
        yield Part(name=run.name, kind="flow", within=run.state, owed=True, endless=True)
    for ask in chart.asks.values():
        yield Part(
            name=ask.name,
            kind="approval",
            within=ask.state,
            sends=False,
            endless=True,
            roles=(ask.role,),
            requester=ask.requester is not None,
        )
