"""A flow that calls another: what each hears of the other, whatever happens to them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from orchestra import Saga, call, starts_on, step
from orchestra.errors import DefinitionError
from orchestra.events.envelope import Envelope, compose
from orchestra.events.message import Done, Event, spec_of
from orchestra.flows.decision import (
    Decision,
    Definition,
    Emission,
    Input,
    OperatorRequest,
    Outcome,
    Status,
    instance_of_effect,
)
from orchestra.flows.saga import Flow, definition_of
from tests.unit.flows.holiday import Asked, Book, Booked, BookOuting, Full, Outing, WithOuting
from tests.unit.flows.play import EPOCH


@dataclass
class Instance:
    definition: Definition
    last: Decision


@dataclass
class Family:
    """A parent and its children, with a coordinator that has only what this test needs. A command is answered by hand:
    ``answer("room", Booked(...))``."""

    parent: type[Flow]
    flows: dict[str, Definition] = field(default_factory=dict[str, Definition])
    instances: dict[str, Instance] = field(default_factory=dict[str, Instance])
    commands: list[Emission] = field(default_factory=list[Emission])
    published: list[str] = field(default_factory=list[str])
    held: list[Emission] | None = None

    def start(self, event: Event) -> str:
        for flow in (self.parent, BookOuting):
            self.flows[definition_of(flow).name] = definition_of(flow)
        definition = definition_of(self.parent)
        name = f"{definition.name}/h-1"
        made = compose(event, id="e-1", source="/tests", time=EPOCH, extensions={})
        self._keep(name, definition, definition.start(made, instance_id=name, run=0, now=EPOCH))
        return name

    def _keep(self, name: str, definition: Definition, decision: Decision) -> None:
        if name in self.instances and not decision.changed:
            return
        self.instances[name] = Instance(definition, decision)
        for emission in decision.messages:
            if emission.kind == "command":
                self.commands.append(emission)
            elif emission.kind == "cancel":
                pass
            elif emission.kind == "event":
                self.published.append(emission.event.type)
            elif self.held is not None:
                self.held.append(emission)
            else:
                self.deliver(emission)

    def deliver(self, emission: Emission) -> None:
        key = (emission.key or b"").decode()
        if emission.kind == "start":
            definition = self.flows[key.partition("/")[0]]
            event = emission.event.evolve(extensions={"replyto": "inbox", "replypartition": 0})
            if key not in self.instances:
                self._keep(key, definition, definition.start(event, instance_id=key, run=5, now=EPOCH))
        elif emission.kind == "request":
            self.give(key, OperatorRequest(**json.loads(emission.event.data or b"")))
        else:
            assert (emission.topic, emission.partition) == ("inbox", 0)
            effect = str(emission.event.get("effectid"))
            assert instance_of_effect(effect) == key
            self.give(key, Outcome(effect, emission.event))

    def give(self, name: str, given: Input) -> None:
        instance = self.instances[name]
        state: Any = json.loads(json.dumps(instance.last.state))
        self._keep(
            name, instance.definition, instance.definition.advance(state, given, now=EPOCH + timedelta(seconds=1))
        )

    def answer(self, what: str, answer: Event) -> None:
        """Answer the oldest unanswered command about this."""
        command = next(one for one in self.commands if f'"what":"{what}"'.encode() in (one.event.data or b""))
        self.commands.remove(command)
        effect = str(command.event.get("effectid"))
        event: Envelope = compose(answer, id="a", source="/tests", time=EPOCH, extensions={"effectid": effect})
        self.give(instance_of_effect(effect), Outcome(effect, event))

    def status(self, name: str) -> Status:
        return self.instances[name].last.status


PARENT, CHILD = "with-outing/h-1", "outing/h-1-outing"


def family() -> Family:
    made = Family(WithOuting)
    made.start(Asked(id="h-1"))
    return made


def test_the_child_gives_what_it_says_when_it_completes() -> None:
    it = family()
    it.answer("boat", Booked(what="boat"))
    it.answer("room", Booked(what="room"))

    assert it.status(CHILD) is Status.COMPLETED
    assert it.instances[CHILD].last.keep_state
    assert it.commands[-1].event.type == "holiday.ask.v1"
    assert it.published == ["holiday.outing-booked.v1"]


def test_a_child_that_is_undone_is_a_step_proven_not_done() -> None:
    it = family()
    it.answer("boat", Full())
    assert it.status(CHILD) is Status.COMPENSATED
    it.answer("room", Booked(what="room"))
    it.answer("room", Done())

    assert it.status(PARENT) is Status.COMPENSATED


def test_hazard_12_a_child_under_way_is_cancelled_and_awaited_when_its_caller_fails() -> None:
    it = family()
    it.answer("room", Full())
    assert (it.status(PARENT), it.status(CHILD)) == (Status.COMPENSATING, Status.COMPENSATING)
    it.answer("boat", Booked(what="boat"))
    assert it.status(PARENT) is Status.COMPENSATING
    it.answer("boat", Done())

    assert (it.status(PARENT), it.status(CHILD)) == (Status.COMPENSATED, Status.COMPENSATED)
    assert it.published[-1] == "holiday.called-off.v1"


def test_a_child_that_has_completed_undoes_itself_when_its_caller_fails() -> None:
    it = family()
    it.answer("boat", Booked(what="boat"))
    it.answer("room", Full())
    assert it.status(CHILD) is Status.COMPENSATING
    it.answer("boat", Done())

    assert (it.status(PARENT), it.status(CHILD)) == (Status.COMPENSATED, Status.COMPENSATED)


def test_a_repeated_request_to_undo_is_answered_again() -> None:
    it = family()
    it.answer("boat", Booked(what="boat"))
    it.held = []
    it.answer("room", Full())
    request = it.held[0]
    it.held = None
    it.deliver(request)
    it.answer("boat", Done())
    assert it.status(PARENT) is Status.COMPENSATED
    it.held = []
    it.deliver(request)

    assert [one.event.type for one in it.held] == [spec_of(Done).type]


def test_a_call_in_a_saga_is_of_a_saga() -> None:
    class Plain(Flow, name="plain"):
        outing = starts_on(Outing)

        @step
        def boat(self) -> Book:
            return Book(id=self.outing.id, what="boat")

    with pytest.raises(DefinitionError, match="Plain is no saga"):

        class Bad(Saga, name="bad"):
            asked = starts_on(Asked)

            @call(Plain)
            def plain(self) -> Outing:
                return Outing(id=self.asked.id)
