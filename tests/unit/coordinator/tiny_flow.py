"""A flow of two steps, small enough to be explored: a1, then a2; or c1, when a1 is not answered in time.

It keeps to the interface of ``orchestra.flows.decision`` and to nothing else of the flows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from orchestra.errors import DecodeError
from orchestra.events.attributes import JSON, format_time
from orchestra.events.cloudevents import encode
from orchestra.events.envelope import Envelope
from orchestra.flows.decision import (
    Alert,
    Answers,
    Decision,
    Emission,
    Input,
    JournalLine,
    Json,
    Occurred,
    OperatorRequest,
    Outcome,
    ReadValue,
    Status,
    StepView,
    Timer,
    TimerFired,
    effect_id,
    instance_id,
    no_values,
)
from orchestra.ids import derived_id
from orchestra.transport.port import Record

STARTED = "tiny.order.placed.v1"
DONE = "tiny.step.done.v1"
REJECTED = "tiny.step.rejected.v1"
TOPIC = "tiny.orders"
COMMANDS = "tiny.commands"
PAID = "tiny.paid.v1"
PAYMENTS = "tiny.payments"
LISTENS = {PAID: PAYMENTS}


@dataclass(frozen=True, slots=True)
class TinyFlow:
    """``count``: how many actions. ``timeout``: seconds until a1 counts as unknown and c1 is sent; None: never.

    ``keeps``: each decision stores a value, removes the one before, and reads what its state refers to.
    """

    name: str = "tiny"
    version: int = 1
    digest: str = "d1"
    count: int = 2
    timeout: float | None = None
    keeps: bool = False
    topics: Sequence[str] = (COMMANDS,)
    starts_on: Mapping[str, str] = field(default_factory=lambda: {STARTED: TOPIC})
    listens_to: Mapping[str, str] = field(default_factory=dict[str, str])
    calls: Sequence[str] = ()
    parts: Mapping[str, Json] = field(default_factory=dict[str, Json])

    def answers(self, command: str) -> Answers:
        raise KeyError(command)

    def keys_of(self, event: Envelope) -> Sequence[str]:
        data = _data(event)
        if "key" not in data and "keys" not in data:
            raise DecodeError("data", "it is for nobody")
        return [str(key) for key in data.get("keys", [data.get("key")])]

    def key_of(self, event: Envelope) -> str:
        return str(_data(event)["key"])

    def start_event(self, state: Json) -> Envelope:
        data: Any = state["data"]
        return start_event(data["key"], **{name: value for name, value in data.items() if name != "key"})

    def start_digest(self, event: Envelope) -> str:
        return json.dumps(_data(event), sort_keys=True)

    def start(self, event: Envelope, *, instance_id: str, run: int, now: datetime) -> Decision:
        data = _data(event)
        if "raise" in data:
            raise RuntimeError(data["raise"])
        state: Json = {"id": instance_id, "run": run, "at": "a1", "data": data, "seen": [], "attempt": 1}
        return self._go(state, now)

    def advance(self, state: Json, given: Input, *, now: datetime, values: ReadValue = no_values) -> Decision:
        state = json.loads(json.dumps(state))
        for name in kept(state):
            if values(name) != _value(state, name):
                raise RuntimeError(f"the value {name} is {values(name)!r}")
        if isinstance(given, OperatorRequest):
            return self._operate(state, given, now)
        if isinstance(given, TimerFired):
            if state["at"] != "a1" or given.name != "a1":
                return _ignored(state, "stale timer")
            state["at"] = "c1"
            return self._go(state, now, "step.timed_out")
        if isinstance(given, Occurred):
            state["events"] = [*state.get("events", []), given.event.id]
            return Decision(state, Status.RUNNING, journal=[JournalLine("event.taken", note=given.event.id)])
        return self._answer(state, given, now)

    def waits_for(self, state: Json) -> Sequence[str]:
        return [f"an answer to {state['at']}"]

    def _answer(self, state: dict[str, Any], given: Outcome, now: datetime) -> Decision:
        step = given.effect_id.split("/")[-3]
        if step != state["at"]:
            return _ignored(state, f"{step} is not running")
        data = _data(given.event)
        if "raise" in data:
            raise RuntimeError(data["raise"])
        state["seen"].append(given.effect_id)
        state["pad"] = "x" * int(data.get("grow", 0))
        if given.event.type == REJECTED:
            state["at"] = "rejected"
        elif step == "c1":
            state["at"] = "undone"
        else:
            number = int(step[1:])
            state["at"] = "end" if number == self.count else f"a{number + 1}"
        return self._go(state, now, "step.replied")

    def _operate(self, state: dict[str, Any], given: OperatorRequest, now: datetime) -> Decision:
        if given.action == "cancel" and state["at"] == "a1":
            state["at"] = "c1"
            return self._go(state, now, "cancelled")
        if given.action == "retry" and state["at"] in ("a1", "a2", "c1"):
            state["attempt"] += 1
            return self._go(state, now, "step.retried")
        return _ignored(state, "not now")

    def _go(self, state: dict[str, Any], now: datetime, what: str = "step.started") -> Decision:
        at = str(state["at"])
        line = JournalLine(what, step=at)
        if at in ("end", "undone", "rejected"):
            status = Status.COMPLETED if at == "end" else Status.COMPENSATED
            return Decision(state, status, journal=[line])
        emission = self._command(state, at, now)
        timers = []
        if at == "a1" and self.timeout is not None:
            timers = [Timer("a1", 1, after=emission.event.id, delay=self.timeout)]
        status = Status.COMPENSATING if at == "c1" else Status.RUNNING
        alerts = [Alert("tiny.compensating", at, "a1 was not answered")] if at == "c1" else []
        return Decision(state, status, [emission], timers, [line], alerts, values=self._keep(state, at))

    def _keep(self, state: dict[str, Any], name: str) -> dict[str, bytes | None]:
        if not self.keeps or name in kept(state):
            return {}
        removed: dict[str, bytes | None] = dict.fromkeys(kept(state))
        state["kept"] = [name]
        return {**removed, name: _value(state, name)}

    def _command(self, state: dict[str, Any], step: str, now: datetime) -> Emission:
        effect = effect_id(state["id"], state["run"], step, "undo" if step == "c1" else "action")
        event = Envelope(
            id=derived_id(effect, state["attempt"]),
            source="/flows/tiny",
            type=f"tiny.{step}.v1",
            time_text=format_time(now),
            datacontenttype=JSON,
            extensions={"effectid": effect, "flowid": state["id"], "flowstep": step, "correlationid": "c"},
            data=b"{}",
        )
        return Emission("command", COMMANDS, str(state["data"]["key"]).encode(), event)

    def steps(self, state: Json) -> Sequence[StepView]:
        return [StepView(f"a{number + 1}", "done", "compensatable") for number in range(self.count)]


def kept(state: Mapping[str, Any] | None) -> Sequence[str]:
    """The values that a state refers to."""
    names: Sequence[str] = (state or {}).get("kept", ())
    return names


def _value(state: Mapping[str, Any], name: str) -> bytes:
    return f"{state['id']}/{state['run']}/{name}".encode() + b"x" * int(state["data"].get("large", 0))


def _data(event: Envelope) -> dict[str, Any]:
    try:
        data = json.loads(event.data or b"{}")
    except ValueError as error:
        raise DecodeError("data", str(error)) from None
    if not isinstance(data, dict) or (event.type == STARTED and "key" not in data):
        raise DecodeError("data", "no key")
    return data


def _ignored(state: dict[str, Any], note: str) -> Decision:
    status = {"end": Status.COMPLETED, "c1": Status.COMPENSATING}.get(state["at"], Status.RUNNING)
    return Decision(state, status, journal=[JournalLine("input.ignored", note=note)], changed=False)


# ---- records of the inbox


def start_event(of: str, **more: object) -> Envelope:
    data = json.dumps({"key": of, **more}).encode()
    return Envelope(f"start-{of}", "/test", STARTED, datacontenttype=JSON, data=data)


def paid_event(of: str, number: int = 0, **more: object) -> Envelope:
    """An event that a tiny flow may listen to."""
    data = json.dumps({"key": of, **more}).encode()
    return Envelope(f"paid-{of}-{number}", "/test", PAID, datacontenttype=JSON, data=data)


def paid_record(of: str, offset: int, number: int = 0) -> Record:
    """What the router writes for it."""
    headers, value = encode(paid_event(of, number))
    instance = instance_id("tiny", of)
    headers += [("orchestra-input", b"event"), ("orchestra-instance", instance.encode())]
    return Record("t.inbox", 0, offset, 0, instance.encode(), value, headers, append_time=True)


def start_record(
    of: str, offset: int, *, shard: int = 0, time_ms: int = 0, flow: str = "tiny", **more: object
) -> Record:
    """What the router writes."""
    headers, value = encode(start_event(of, **more))
    instance = instance_id(flow, of)
    headers += [("orchestra-input", b"start"), ("orchestra-instance", instance.encode())]
    return Record("t.inbox", shard, offset, time_ms, instance.encode(), value, headers, append_time=True)


def outcome_record(
    effect: str, offset: int, *, shard: int = 0, time_ms: int = 0, kind: str = DONE, **data: object
) -> Record:
    """What a participant answers."""
    event = Envelope(
        f"outcome-{effect}-{offset}",
        "/test",
        kind,
        datacontenttype=JSON,
        extensions={"effectid": effect},
        data=json.dumps(data).encode(),
    )
    headers, value = encode(event)
    return Record("t.inbox", shard, offset, time_ms, effect.encode(), value, headers, append_time=True)


def operator_record(instance: str, offset: int, action: str, *, shard: int = 0) -> Record:
    """What an operator writes."""
    data = json.dumps({"action": action, "by": "ann", "reason": "because"}).encode()
    headers, value = encode(
        Envelope(f"op-{offset}", "/test", "orchestra.operator.requested.v1", datacontenttype=JSON, data=data)
    )
    headers += [("orchestra-input", b"operator"), ("orchestra-instance", instance.encode())]
    return Record("t.inbox", shard, offset, 0, instance.encode(), value, headers, append_time=True)
