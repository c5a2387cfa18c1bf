"""What does one input do to one instance? Pure: the flow decides, this file does what holds for every flow.

Starts are idempotent, finished instances answer repeats, a flow that raises parks its instance and not the shard, an
input of a version that is not here waits in the instance's record. Every input of an instance that is known leaves a
journal entry.
"""

from __future__ import annotations

import traceback
from datetime import datetime
from functools import partial

from orchestra.coordinator import early
from orchestra.coordinator.answering import Answering, end_of, is_called_by, remembered
from orchestra.coordinator.deployed import Flows
from orchestra.coordinator.exchange import Change
from orchestra.coordinator.inbox import Deflected, operator_request
from orchestra.coordinator.journal import Journal
from orchestra.coordinator.meaning import already_decided, decide, restart_of, revives, unparks
from orchestra.coordinator.record import EARLY, QUEUED, Given, Instance, Ref
from orchestra.coordinator.taking import Taking
from orchestra.coordinator.wire import Make, Wire
from orchestra.errors import DecodeError
from orchestra.events.envelope import Envelope
from orchestra.flows.decision import (
    Decision,
    Definition,
    Status,
    instance_id,
    split_instance_id,
)
from orchestra.flows.histories import trace

MAX_WAITING = 1000
"""Inputs that wait in one instance's record; further ones go to the dead letters."""


class Advance:
    """The rules of one shard.

    Args:
        flows: what this process can decide.
        journal: composes journal entries, alerts and dead letters.
        wire: composes what flows say.
        outcome_bytes: a larger outcome parks its instance.
        early: seconds for which an event is kept whose instance has not started.
    """

    def __init__(
        self,
        flows: Flows,
        journal: Journal,
        wire: Wire,
        *,
        outcome_bytes: int = 128 * 1024,
        early: float = 3600.0,
    ) -> None:
        self._flows = flows
        self._journal = journal
        self._answering = Answering(journal.source)
        self._wire = wire
        self._outcome_bytes = outcome_bytes
        self._early = early

    # ---- the shard's questions (orchestra.coordinator.exchange.Rules)

    def take(
        self, key: str, instance: Instance | None, given: Given, now: datetime, *, free: bool
    ) -> Change | Deflected | None:
        """What follows from an input. See :class:`orchestra.coordinator.exchange.Rules`."""
        if instance is None or instance.is_unborn:
            return self._before_start(key, instance, given, now, free=free)
        taking = Taking(instance, now)
        if given.kind == "start" and instance.start:
            self._start_again(taking, given)
        elif instance.parked is not None and unparks(given):
            self._unpark(taking, given)
        elif instance.parked is not None or instance.status == QUEUED:
            if given.timer is None and len(instance.inputs) >= MAX_WAITING:
                return Deflected("PARKED_FULL", f"{MAX_WAITING} inputs of {key} wait already")
            self._let_wait(taking, given)
        else:
            instance.inputs = (*instance.inputs, given)
            self._drain(taking)
        return None if taking.silent else self._change(taking)

    def release(self, instance: Instance, now: datetime) -> Change:
        """The inputs that waited have their turn."""
        taking = Taking(instance, now)
        instance.parked = None
        taking.say("instance.released")
        self._drain(taking)
        return self._change(taking)

    def can_release(self, instance: Instance) -> bool:
        """Whether the version that a parked instance waits for is here."""
        if instance.parked is None or instance.parked.why != "version":
            return False
        return self._flows.find(instance.flow, instance.version) is not None or self._can_begin(instance)

    def is_outdated(self, flow: str | None) -> bool:
        """Whether instances of this version, as a header names it, may be taken over by a newer one."""
        name, _, version = (flow or "").partition("/")
        return version.isdecimal() and self._flows.successor(name, int(version)) is not None

    def renew(self, instance: Instance, now: datetime) -> Change | None:
        """The instance under the version that takes it over; None where it stays on its own."""
        if instance.parked is not None or instance.status == QUEUED:
            return None
        taking = Taking(instance, now)
        try:
            self._migrate(taking)
        except Exception as error:  # a flow's own method, as for any input
            taking.park("raised", _traceback(error))
        return None if taking.silent else self._change(taking)

    def shrink(self, key: str, instance: Instance | None, given: Given | None, now: datetime) -> Change:
        """The instance as it was, parked; its new input by its place in the inbox."""
        if instance is None:
            assert given is not None
            instance = _unborn(key, given, now, QUEUED)
        taking = Taking(instance, now)
        where = (
            "a waiting input" if given is None or given.offset is None else f"the input at inbox offset {given.offset}"
        )
        note = f"with {where} its record, or a value beside it, would be larger than it may be"
        if given is not None:
            instance.inputs = (*instance.inputs, _omit(given))
            taking.taken.append(_omit(given))
        taking.park("too_large", note)
        return self._change(taking)

    # ---- starts, and what comes before them

    def _before_start(
        self, key: str, instance: Instance | None, given: Given, now: datetime, *, free: bool
    ) -> Change | Deflected | None:
        if given.kind == "start":
            return self._first(key, instance, given, now, free=free)
        if given.timer is not None and instance is not None:
            taking = Taking(instance, now)
            early.expire(taking, given.timer)
            return None if taking.silent else self._change(taking)
        if given.kind != "event":
            return Deflected("UNKNOWN_INSTANCE", f"no instance {key}: it never was, or is no longer remembered")
        if instance is None and not free:
            return Deflected("UNKNOWN_INSTANCE", f"no instance {key}, and events are kept for too many others already")
        taking = Taking(instance or _unborn(key, given, now, EARLY), now)
        refused = early.hold(taking, given, seconds=self._early, most_bytes=self._outcome_bytes)
        return refused or self._change(taking)

    def _first(
        self, key: str, before: Instance | None, given: Given, now: datetime, *, free: bool
    ) -> Change | Deflected:
        """The start. ``before``: what came for the instance before it."""
        instance = _unborn(key, given, now, QUEUED)
        instance.inputs = (given,)
        if before is not None:
            instance.n = before.n
            instance.inputs = (given, *before.inputs)
        taking = Taking(instance, now)
        self._answering.let_wait(taking, given)
        definition = self._definition_for_start(instance.flow, given)
        if definition is None:
            taking.park(
                "version", f"flow {instance.flow} is not deployed here, or does not start on {given.event.type}"
            )
            return self._change(taking)
        try:
            instance.start = _start_digest(definition, key, given.event)
        except DecodeError as error:
            return Deflected("CONTRACT", str(error))
        except Exception as error:  # a validator of the flow's: as below
            taking.park("raised", _traceback(error))
            return self._change(taking)
        if free:
            self._drain(taking)
        else:
            taking.say("instance.queued", "max_running instances run in this shard")
        return self._change(taking)

    def _definition_for_start(self, flow: str, given: Given) -> Definition | None:
        definition = self._flows.newest(flow)
        return definition if definition is not None and given.event.type in definition.starts_on else None

    def _can_begin(self, instance: Instance) -> bool:
        first = next(iter(instance.inputs), None)
        if instance.version is not None or first is None or first.kind != "start" or first.omitted:
            return False
        return self._definition_for_start(instance.flow, first) is not None

    def _start_again(self, taking: Taking, given: Given) -> None:
        taking.taken.append(given)
        instance, definition = taking.instance, self._flows.newest(taking.instance.flow)
        caller = is_called_by(given.event)
        if caller and caller != instance.called:
            self._answering.refuse_flow(
                taking, given.event, f"instance {instance.id} is there already, started by somebody else"
            )
            return
        if definition is None:
            taking.say("start.repeated", "not compared: the flow is not deployed here")
            self._answering.refuse(taking, given, "the flow is not deployed here")
            return
        try:
            same = _start_digest(definition, instance.id, given.event) == instance.start
        except Exception as error:  # DecodeError, or whatever a validator of the flow's raises
            taking.reject(given, error)
            return
        if same:
            taking.say("start.repeated", "the same content: nothing to do")
            self._answering.let_wait(taking, given)
        elif given.event.type in definition.listens_to:
            taking.say("start.repeated", "with other content: it may be an event for this instance all the same")
        else:
            note = f"event {given.event.id} has another content than the one that started this instance; it is ignored"
            taking.say("start.differs", note)
            taking.alert("start.differs", note)
        if not same:
            self._answering.refuse(taking, given, f"instance {instance.id} was started with another content")

    # ---- what waits

    def _let_wait(self, taking: Taking, given: Given) -> None:
        if given.size > self._outcome_bytes:
            given = _omit(given)
        taking.taken.append(given)
        taking.instance.inputs = (*taking.instance.inputs, given)
        taking.say("input.waits", taking.instance.label)

    def _unpark(self, taking: Taking, given: Given) -> None:
        """``retry``: once more from the input that was in the way; ``skip``: without it; others: before it."""
        request = operator_request(given.event)
        instance = taking.instance
        taking.taken.append(given)
        taking.say("instance.released", f"{request.action} by {request.by}: {request.reason}")
        instance.parked = None
        if request.action == "skip":
            instance.inputs = instance.inputs[1:]
        elif request.action in ("cancel", "resolve") and instance.version is not None:
            instance.inputs = (given, *instance.inputs)
        self._drain(taking)

    def _drain(self, taking: Taking) -> None:
        instance = taking.instance
        while instance.inputs and instance.parked is None:
            given, *rest = instance.inputs
            instance.inputs = tuple(rest)
            if given not in taking.taken:
                taking.taken.append(given)
            self._take_one(taking, given)
        if instance.version is None and instance.parked is None:  # its start was rejected: there is nothing to undo
            instance.status = str(Status.COMPENSATED)
            instance.finished = taking.now

    def _take_one(self, taking: Taking, given: Given) -> None:
        instance = taking.instance
        begun = instance.version is not None
        if given.omitted or (given.kind in ("outcome", "event") and given.size > self._outcome_bytes):
            note = f"the input at inbox offset {given.offset} is larger than {self._outcome_bytes} bytes"
            taking.park("too_large", note, _omit(given))
        elif instance.finished is not None and not revives(instance, given):
            what = "event.late" if given.kind == "event" else "input.ignored"
            taking.say(what, f"the instance is {instance.status}{already_decided(instance, given)}")
        elif given.kind == "start" and begun:
            self._start_again(taking, given)
        elif not begun and given.kind != "start":
            taking.say("input.ignored", "the instance never began")
        elif given.kind == "event" and given.event.id == instance.began:
            taking.say("event.repeated", "it is the event that started this instance")
        elif (request := restart_of(given)) is not None and instance.status != Status.HALTED:
            who = f"restart by {request.by}: {request.reason}"
            taking.say("operator.refused", f"{who}; not done, because the instance is {instance.status}")
        else:
            self._ask_flow(taking, given)

    # ---- the flow

    def _ask_flow(self, taking: Taking, given: Given) -> None:
        instance = taking.instance
        if instance.version is None:
            definition = self._definition_for_start(instance.flow, given)
        else:
            definition = self._flows.find(instance.flow, instance.version)
        if definition is None:
            wanted = instance.flow if instance.version is None else f"{instance.flow} version {instance.version}"
            taking.park("version", f"{wanted} is not deployed here", given)
            return
        try:
            definition = self._migrate(taking) or definition
            decision = decide(definition, taking, given)
            makes = [self._wire.encode(emission) for emission in decision.messages]
            if instance.version is None:
                _begin(instance, definition, given.event)
        except DecodeError as error:
            taking.reject(given, error)
        except Exception as error:  # a flow's own method: whatever it raises parks this instance, and no other
            taking.park("raised", _traceback(error), given)
        else:
            if (request := restart_of(given)) is not None:
                instance.run, instance.failed = given.offset or 0, ""
                taking.say("operator.restart", f"restart by {request.by}: {request.reason}")
            taking.emissions += makes
            self._adopt(taking, definition, decision)

    def _migrate(self, taking: Taking) -> Definition | None:
        """The version that takes the instance over now, if one does: what it decides is adopted."""
        instance = taking.instance
        newer = self._flows.successor(instance.flow, instance.version)
        if newer is None or instance.state is None or instance.version is None or instance.finished is not None:
            return None
        decision = newer.take_over(instance.version, instance.state, now=taking.now, values=taking.value)
        if decision is None:
            return None
        makes = [self._wire.encode(emission) for emission in decision.messages]
        instance.version, instance.digest = newer.version, newer.digest
        taking.emissions += makes
        self._adopt(taking, newer, decision)
        return newer

    def _adopt(self, taking: Taking, definition: Definition, decision: Decision) -> None:
        taking.lines += decision.journal
        taking.sent += map(trace, decision.messages)
        taking.alerts += decision.alerts
        if decision.journal or decision.alerts or decision.messages or decision.changed:
            taking.silent = False
        if not decision.changed:
            return
        taking.values.update(decision.values)
        instance = taking.instance
        instance.state = decision.state
        instance.status = str(decision.status)
        instance.timers = tuple(decision.timers)
        instance.finished = instance.result = None
        instance.failed = next((line.note for line in decision.journal if line.what == "flow.failed"), instance.failed)
        if Status(decision.status).is_final:
            taking.end = end_of(decision.messages)
            instance.result = _result(definition, decision, taking.end)
            instance.finished = taking.now
            instance.timers = ()
            if not decision.keep_state:
                instance.state = None

    # ---- the change

    def _change(self, taking: Taking) -> Change:
        instance = taking.instance
        if instance.finished is not None:
            self._answering.tell(taking)
        instance.n += 1
        makers: list[Make] = [*taking.emissions]
        makers += (partial(self._journal.dead_letter, letter, taking.now) for letter in taking.letters)
        makers.append(partial(self._journal.entry, instance, taking.taken, taking.lines, taking.sent, taking.now))
        makers += (partial(self._journal.alert, instance, alert, taking.now) for alert in taking.alerts)
        messages = [make(Ref(instance.id, instance.n, place)) for place, make in enumerate(makers)]
        return Change(instance, tuple(messages), taking.values)


def _unborn(key: str, given: Given, now: datetime, status: str) -> Instance:
    # The offset of its start makes the run, and with it every effect id, another one when a key is used again.
    return Instance(
        id=key,
        flow=split_instance_id(key)[0],
        version=None,
        run=given.offset or 0,
        n=0,
        status=status,
        start="",
        begun=now,
    )


def _begin(instance: Instance, definition: Definition, start: Envelope) -> None:
    instance.start = instance.start or _start_digest(definition, instance.id, start)
    instance.version = definition.version
    instance.digest = definition.digest
    instance.called = is_called_by(start)
    if start.type in definition.listens_to:
        instance.began = start.id


def _result(definition: Definition, decision: Decision, end: Envelope | None) -> dict[str, object]:
    """What a finished instance is remembered by."""
    views = definition.steps(decision.state)
    steps = [{name: value for name in view.__slots__ if (value := getattr(view, name))} for view in views]
    return {"steps": steps} if end is None else {"steps": steps, "end": remembered(end)}


def _traceback(error: Exception) -> str:
    text = "".join(traceback.format_exception(error))[-8000:]
    return text.encode("utf-8", "replace").decode()  # an error may quote what is no text


def _start_digest(definition: Definition, key: str, event: Envelope) -> str:
    """Of a start event that is this instance's. Raises DecodeError."""
    if instance_id(definition.name, definition.key_of(event)) != key:
        raise DecodeError("data", f"its key is not that of instance {key}")
    return definition.start_digest(event)


def _omit(given: Given) -> Given:
    return given if given.offset is None else Given(given.kind, given.offset, time_ms=given.time_ms, omitted=True)
