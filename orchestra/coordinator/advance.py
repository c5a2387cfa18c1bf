"""What does one input do to one instance? Pure: the flow decides, this file does what holds for every flow.

Starts are idempotent, finished instances answer repeats, a flow that raises parks its instance and not the shard, an
input of a version that is not here waits in the instance's record. Every input of an instance that is known leaves a
journal entry.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from orchestra.coordinator.exchange import Change
from orchestra.coordinator.inbox import Deflected, operator_request
from orchestra.coordinator.journal import Journal
from orchestra.coordinator.record import QUEUED, Given, Instance, OutboxMessage, Parked, Ref, Why
from orchestra.errors import DecodeError
from orchestra.events.attributes import Value
from orchestra.events.cloudevents import encode
from orchestra.events.envelope import Envelope
from orchestra.flows.decision import (
    Alert,
    Decision,
    Definition,
    Emission,
    Input,
    JournalLine,
    Outcome,
    Status,
    TimerFired,
    instance_id,
    split_instance_id,
)

MAX_WAITING = 1000
"""Inputs that wait in one instance's record; further ones go to the dead letters."""


_Wire = Callable[[Ref], OutboxMessage]
"""A message that is encoded and waits for its place in a record."""


class Flows:
    """The flow versions that this process has."""

    def __init__(self, definitions: Iterable[Definition]) -> None:
        self.by_version: dict[tuple[str, int], Definition] = {}
        self._newest: dict[str, Definition] = {}
        for definition in sorted(definitions, key=lambda each: each.version):
            self.by_version[definition.name, definition.version] = definition
            self._newest[definition.name] = definition

    def find(self, flow: str, version: int | None) -> Definition | None:
        return None if version is None else self.by_version.get((flow, version))

    def newest(self, flow: str) -> Definition | None:
        return self._newest.get(flow)

    def digests(self) -> Mapping[str, str]:
        """``<flow>/<version>`` to the digest of its graph."""
        return {f"{name}/{version}": each.digest for (name, version), each in self.by_version.items()}


@dataclass(slots=True)
class _Draft:
    """An instance while its inputs are taken, and what they say."""

    instance: Instance
    now: datetime
    taken: list[Given] = field(default_factory=list[Given])
    emissions: list[_Wire] = field(default_factory=list["_Wire"])
    letters: list[tuple[Given, Exception]] = field(default_factory=list[tuple[Given, Exception]])
    lines: list[JournalLine] = field(default_factory=list[JournalLine])
    alerts: list[Alert] = field(default_factory=list[Alert])
    values: dict[str, bytes | None] = field(default_factory=dict[str, "bytes | None"])
    silent: bool = True

    def say(self, what: str, note: str = "") -> None:
        self.lines.append(JournalLine(what, note=note))
        self.silent = False

    def value(self, name: str) -> bytes:
        """What an earlier input of this run stored. Raises KeyError."""
        found = self.values[name] if name in self.values else self.instance.values[name]
        if found is None:
            raise KeyError(name)
        return found

    def alert(self, code: str, note: str) -> None:
        self.alerts.append(Alert(code, None, note))

    def park(self, why: Why, note: str, given: Given | None = None) -> None:
        """Stop here. ``given`` goes back to the front of what waits."""
        self.instance.parked = Parked(why, note, self.now)
        if given is not None:
            self.instance.inputs = (given, *self.instance.inputs)
        self.say("instance.parked", note)
        self.alert(
            {"version": "version.missing", "raised": "flow.raised", "too_large": "instance.too_large"}[why], note
        )


class Advance:
    """The rules of one shard.

    Args:
        flows: what this process can decide.
        journal: composes journal entries, alerts and dead letters.
        topic: declared topic -> topic on this cluster.
        inbox: the topic, and ``shard`` its partition, that commands name as the place for their answers.
        outcome_bytes: a larger outcome parks its instance.
    """

    def __init__(
        self,
        flows: Flows,
        journal: Journal,
        *,
        topic: Callable[[str], str],
        inbox: str,
        shard: int,
        outcome_bytes: int = 128 * 1024,
    ) -> None:
        self._flows = flows
        self._journal = journal
        self._topic = topic
        self._replyto: dict[str, Value] = {"replyto": inbox, "replypartition": shard}
        self._outcome_bytes = outcome_bytes

    # ---- the shard's questions (orchestra.coordinator.exchange.Rules)

    def take(
        self, key: str, instance: Instance | None, given: Given, now: datetime, *, free: bool
    ) -> Change | Deflected | None:
        """What follows from an input. See :class:`orchestra.coordinator.exchange.Rules`."""
        if instance is None:
            return self._first(key, given, now, free=free)
        draft = _Draft(instance, now)
        if given.kind == "start" and instance.start:
            self._start_again(draft, given)
        elif given.kind == "operator" and instance.parked is not None:
            self._unpark(draft, given)
        elif instance.parked is not None or instance.status == QUEUED:
            if given.timer is None and len(instance.inputs) >= MAX_WAITING:
                return Deflected("PARKED_FULL", f"{MAX_WAITING} inputs of {key} wait already")
            self._let_wait(draft, given)
        else:
            instance.inputs = (*instance.inputs, given)
            self._drain(draft)
        return None if draft.silent else self._change(draft)

    def release(self, instance: Instance, now: datetime) -> Change:
        """The inputs that waited have their turn."""
        draft = _Draft(instance, now)
        instance.parked = None
        draft.say("instance.released")
        self._drain(draft)
        return self._change(draft)

    def can_release(self, instance: Instance) -> bool:
        """Whether the version that a parked instance waits for is here."""
        if instance.parked is None or instance.parked.why != "version":
            return False
        return self._flows.find(instance.flow, instance.version) is not None or self._can_begin(instance)

    def shrink(self, key: str, instance: Instance | None, given: Given | None, now: datetime) -> Change:
        """The instance as it was, parked; its new input by its place in the inbox."""
        if instance is None:
            assert given is not None
            instance = self._unborn(key, given, now)
        draft = _Draft(instance, now)
        where = (
            "a waiting input" if given is None or given.offset is None else f"the input at inbox offset {given.offset}"
        )
        note = f"with {where} its record, or a value beside it, would be larger than it may be"
        if given is not None:
            instance.inputs = (*instance.inputs, _omit(given))
            draft.taken.append(_omit(given))
        draft.park("too_large", note)
        return self._change(draft)

    # ---- starts

    def _first(self, key: str, given: Given, now: datetime, *, free: bool) -> Change | Deflected:
        if given.kind != "start":
            return Deflected("UNKNOWN_INSTANCE", f"no instance {key}: it never was, or is no longer remembered")
        instance = self._unborn(key, given, now)
        instance.inputs = (given,)
        draft = _Draft(instance, now)
        definition = self._definition_for_start(instance.flow, given)
        if definition is None:
            draft.park("version", f"flow {instance.flow} is not deployed here, or does not start on {given.event.type}")
            return self._change(draft)
        try:
            instance.start = _start_digest(definition, key, given.event)
        except DecodeError as error:
            return Deflected("CONTRACT", str(error))
        except Exception as error:  # a validator of the flow's: as below
            draft.park("raised", _traceback(error))
            return self._change(draft)
        if free:
            self._drain(draft)
        else:
            draft.say("instance.queued", "max_running instances run in this shard")
        return self._change(draft)

    def _unborn(self, key: str, given: Given, now: datetime) -> Instance:
        # The offset of its start makes the run, and with it every effect id, another one when a key is used again.
        return Instance(
            id=key,
            flow=split_instance_id(key)[0],
            version=None,
            run=given.offset or 0,
            n=0,
            status=QUEUED,
            start="",
            begun=now,
        )

    def _definition_for_start(self, flow: str, given: Given) -> Definition | None:
        definition = self._flows.newest(flow)
        return definition if definition is not None and given.event.type in definition.starts_on else None

    def _can_begin(self, instance: Instance) -> bool:
        first = next(iter(instance.inputs), None)
        if instance.version is not None or first is None or first.kind != "start" or first.omitted:
            return False
        return self._definition_for_start(instance.flow, first) is not None

    def _start_again(self, draft: _Draft, given: Given) -> None:
        draft.taken.append(given)
        definition = self._flows.newest(draft.instance.flow)
        if definition is None:
            draft.say("start.repeated", "not compared: the flow is not deployed here")
            return
        try:
            same = _start_digest(definition, draft.instance.id, given.event) == draft.instance.start
        except Exception as error:  # DecodeError, or whatever a validator of the flow's raises
            self._reject(draft, given, error)
            return
        if same:
            draft.say("start.repeated", "the same content: nothing to do")
        else:
            note = f"event {given.event.id} has another content than the one that started this instance; it is ignored"
            draft.say("start.differs", note)
            draft.alert("start.differs", note)

    # ---- what waits

    def _let_wait(self, draft: _Draft, given: Given) -> None:
        if given.size > self._outcome_bytes:
            given = _omit(given)
        draft.taken.append(given)
        draft.instance.inputs = (*draft.instance.inputs, given)
        draft.say("input.waits", draft.instance.label)

    def _unpark(self, draft: _Draft, given: Given) -> None:
        """``retry``: once more from the input that was in the way; ``skip``: without it; others: before it."""
        request = operator_request(given.event)
        instance = draft.instance
        draft.taken.append(given)
        draft.say("instance.released", f"{request.action} by {request.by}: {request.reason}")
        instance.parked = None
        if request.action == "skip":
            instance.inputs = instance.inputs[1:]
        elif request.action in ("cancel", "resolve") and instance.version is not None:
            instance.inputs = (given, *instance.inputs)
        self._drain(draft)

    def _drain(self, draft: _Draft) -> None:
        instance = draft.instance
        while instance.inputs and instance.parked is None:
            given, *rest = instance.inputs
            instance.inputs = tuple(rest)
            if given not in draft.taken:
                draft.taken.append(given)
            self._take_one(draft, given)
        if instance.version is None and instance.parked is None:  # its start was rejected: there is nothing to undo
            instance.status = str(Status.COMPENSATED)
            instance.finished = draft.now

    def _take_one(self, draft: _Draft, given: Given) -> None:
        instance = draft.instance
        begun = instance.version is not None
        if given.omitted or (given.kind == "outcome" and given.size > self._outcome_bytes):
            note = f"the input at inbox offset {given.offset} is larger than {self._outcome_bytes} bytes"
            draft.park("too_large", note, _omit(given))
        elif instance.finished is not None:
            draft.say("input.ignored", f"the instance is {instance.status}")
        elif given.kind == "start" and begun:
            self._start_again(draft, given)
        elif not begun and given.kind != "start":
            draft.say("input.ignored", "the instance never began")
        else:
            self._ask_flow(draft, given)

    # ---- the flow

    def _ask_flow(self, draft: _Draft, given: Given) -> None:
        instance = draft.instance
        if instance.version is None:
            definition = self._definition_for_start(instance.flow, given)
        else:
            definition = self._flows.find(instance.flow, instance.version)
        if definition is None:
            wanted = instance.flow if instance.version is None else f"{instance.flow} version {instance.version}"
            draft.park("version", f"{wanted} is not deployed here", given)
            return
        try:
            decision = _decide(definition, draft, given)
            wires = [self._wire(emission) for emission in decision.messages]
            if instance.version is None:
                instance.start = instance.start or _start_digest(definition, instance.id, given.event)
                instance.version = definition.version
                instance.digest = definition.digest
        except DecodeError as error:
            self._reject(draft, given, error)
        except Exception as error:  # a flow's own method: whatever it raises parks this instance, and no other
            draft.park("raised", _traceback(error), given)
        else:
            self._adopt(draft, definition, decision, wires)

    def _adopt(self, draft: _Draft, definition: Definition, decision: Decision, wires: list[_Wire]) -> None:
        draft.lines += decision.journal
        draft.alerts += decision.alerts
        if decision.journal or decision.alerts:
            draft.silent = False
        if not decision.changed:
            return
        draft.emissions += wires
        draft.values.update(decision.values)
        instance = draft.instance
        instance.state = decision.state
        instance.status = str(decision.status)
        instance.timers = tuple(decision.timers)
        draft.silent = False
        if Status(decision.status).is_final:
            steps = [
                {name: value for name in step.__slots__ if (value := getattr(step, name))}
                for step in definition.steps(decision.state)
            ]
            instance.state = None
            instance.timers = ()
            instance.finished = draft.now
            instance.result = {"steps": steps}

    def _reject(self, draft: _Draft, given: Given, error: Exception) -> None:
        """An input that is not what it should be: to the dead letters, and the instance goes on waiting."""
        draft.letters.append((given, error))
        draft.say("input.rejected", str(error))

    # ---- the change

    def _change(self, draft: _Draft) -> Change:
        instance = draft.instance
        instance.n += 1
        makers = [*draft.emissions]
        makers += (partial(self._journal.dead_letter, given, error, draft.now) for given, error in draft.letters)
        makers.append(partial(self._journal.entry, instance, draft.taken, draft.lines, draft.now))
        makers += (partial(self._journal.alert, instance, alert, draft.now) for alert in draft.alerts)
        messages = [make(Ref(instance.id, instance.n, place)) for place, make in enumerate(makers)]
        return Change(instance, tuple(messages), draft.values)

    def _wire(self, emission: Emission) -> _Wire:
        event = emission.event
        if emission.kind == "command":
            event = event.evolve(extensions=self._replyto)
        headers, value = encode(event)
        topic = self._topic(emission.topic)
        return lambda ref: OutboxMessage(ref, event.id, emission.kind, topic, emission.key, value, tuple(headers))


def _decide(definition: Definition, draft: _Draft, given: Given) -> Decision:
    instance = draft.instance
    if instance.version is None:
        return definition.start(given.event, instance_id=instance.id, run=instance.run, now=draft.now)
    assert instance.state is not None
    return definition.advance(instance.state, _input(given), now=draft.now, values=draft.value)


def _input(given: Given) -> Input:
    if given.timer is not None:
        return TimerFired(*given.timer)
    if given.kind == "operator":
        return operator_request(given.event)
    event = given.event
    return Outcome(event.get("effectid") or "", event)


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
