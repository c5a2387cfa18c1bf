"""What is somebody told who waits for an instance's end? Pure.

A flow that called another hears from that flow itself. Here are the two other cases: a program that waits
(``bus.run``) gets the end event, whenever it asks while the instance is remembered; and a flow that calls what somebody
else has started is refused, so that it does not wait for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from orchestra.coordinator.inbox import caller_of
from orchestra.coordinator.record import Caller, Given, Instance, from_bytes, to_bytes
from orchestra.coordinator.taking import Taking
from orchestra.coordinator.wire import Make, message
from orchestra.events.attributes import Value
from orchestra.events.envelope import Envelope, compose
from orchestra.events.message import Done, Event, FlowFailed, StepRefused
from orchestra.flows.decision import Emission, Json, Status
from orchestra.ids import derived_id

MAX_CALLERS = 20
"""Programs that wait for one instance's end; further ones are refused."""

MAX_END_BYTES = 8 * 1024
"""A larger end event is told to those who wait for it, and not remembered."""

STATUS = "flowstatus"
"""The extension of an answer that says how the instance ended."""
_ENDINGS = ("completed", "compensated")


def end_of(messages: Sequence[Emission]) -> Envelope | None:
    """Of what a flow says with its last decision, the event that tells its end; the first where there are several."""
    events = [each.event for each in messages if each.kind == "event"]
    ending = [event for event in events if event.get("flowstep") in _ENDINGS]
    return next(iter(ending or events[-1:]), None)


def remembered(end: Envelope) -> Json:
    """The end event as a finished instance keeps it."""
    if end.data is not None and len(end.data) > MAX_END_BYTES:
        return {"type": end.type, "omitted": True}
    return {"type": end.type, "content": end.datacontenttype, "data": from_bytes(end.data)}


def is_called_by(start: Envelope) -> str:
    """The effect id of the flow's step that a start event comes from, or nothing."""
    return start.get("effectid") or "" if start.get("replyto") is not None else ""


class Answering:
    """What a coordinator tells callers. ``source``: of its events."""

    def __init__(self, source: str) -> None:
        self._source = source

    def let_wait(self, taking: Taking, given: Given) -> None:
        """The program that a start names, if it does, waits for the end of the instance."""
        instance = taking.instance
        caller = caller_of(given.headers, instance.flow)
        if caller is None or caller in instance.callers:
            return
        if len(instance.callers) >= MAX_CALLERS:
            self.refuse(taking, given, f"{MAX_CALLERS} wait for the end of instance {instance.id} already")
        else:
            instance.callers = (*instance.callers, caller)

    def refuse(self, taking: Taking, given: Given, note: str) -> None:
        """The program that a start names, if it does, need not wait."""
        caller = caller_of(given.headers, taking.instance.flow)
        if caller is not None:
            event = _refusal(self._source, note, _about(caller, taking.instance), taking.now)
            taking.emissions.append(_to(caller, event, taking.instance))
            taking.say("start.refused", note)

    def refuse_flow(self, taking: Taking, start: Envelope, note: str) -> None:
        """The flow that would start this instance need not wait: nothing was done for it."""
        topic, partition = start.get("replyto"), start.extensions.get("replypartition")
        about: dict[str, Value] = {"effectid": is_called_by(start), "causationid": start.id}
        about |= {name: value for name in ("correlationid", "flowid") if (value := start.get(name)) is not None}
        event = _refusal(self._source, note, about, taking.now)
        key = str(about.get("flowid", "")).encode() or None
        number = partition if isinstance(partition, int) else None
        taking.emissions.append(message("outcome", event, topic or "", number, key))
        taking.say("start.refused", f"to {is_called_by(start)}: {note}")

    def tell(self, taking: Taking) -> None:
        """The instance is over: tell the programs that wait."""
        instance = taking.instance
        for caller in instance.callers:
            taking.emissions.append(_to(caller, self._end(taking, caller), instance))
        instance.callers = ()

    def _end(self, taking: Taking, caller: Caller) -> Envelope:
        instance = taking.instance
        about = _about(caller, instance)
        answer_id = derived_id(caller.effect_id, "end")
        if (end := taking.end or _recalled(instance)) is not None:
            return end.evolve(id=answer_id, source=self._source, extensions=about)
        return compose(_plain_end(instance), id=answer_id, source=self._source, time=taking.now, extensions=about)


def _about(caller: Caller, instance: Instance) -> dict[str, Value]:
    return {"effectid": caller.effect_id, "flowid": instance.id, STATUS: instance.status}


def _to(caller: Caller, event: Envelope, instance: Instance) -> Make:
    return message("outcome", event, caller.topic, caller.partition, instance.id.encode())


def _refusal(source: str, note: str, about: dict[str, Value], now: datetime) -> Envelope:
    answer_id = derived_id(str(about["effectid"]), "refused", str(about.get("causationid", "")))
    refused = StepRefused(reason="exists", note=note)
    return compose(refused, id=answer_id, source=source, time=now, extensions=about)


def _recalled(instance: Instance) -> Envelope | None:
    end: Any = (instance.result or {}).get("end")
    if end is None:
        return None
    data = to_bytes(end.get("data"))
    return Envelope("end", "/", end["type"], datacontenttype=end.get("content"), data=data)


def _plain_end(instance: Instance) -> Event:
    if instance.status == Status.COMPLETED:
        return Done()
    return FlowFailed(step=None, cause=instance.status, reason=instance.failed or "its start was not valid")
