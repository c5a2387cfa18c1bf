"""What becomes of events that come before the start of their instance? Pure.

The event that an instance will wait for may be faster than the one that starts it: they come from different topics. It
is kept in a record under the instance's id, in order, for a while; the start takes over what is there. Where no start
comes, each event becomes a dead letter when its time is over.
"""

from __future__ import annotations

from datetime import timedelta

from orchestra.coordinator.inbox import Deflected
from orchestra.coordinator.record import EARLY, EXPIRED, Given
from orchestra.coordinator.taking import Taking
from orchestra.errors import DecodeError
from orchestra.flows.decision import Timer

MAX_EARLY = 100
"""Events that are kept for one instance; further ones are dead letters at once."""

TIMER = "!early"
"""The timer of an event that is kept; its generation is the event's offset."""


def hold(taking: Taking, given: Given, *, seconds: float, most_bytes: int) -> Deflected | None:
    """Keep an event for so many seconds, or say why not."""
    instance, waiting = taking.instance, taking.instance.inputs
    if any(_same(given, other) for other in waiting):
        taking.taken.append(given)
        taking.say("event.repeated", "it is kept already")
        return None
    if len(waiting) >= MAX_EARLY:
        return _unknown(f"{MAX_EARLY} events of {instance.id} are kept already, and its start has not come")
    if sum(other.size for other in waiting) + given.size > most_bytes:
        return _unknown(f"the events of {instance.id} are larger than {most_bytes} bytes, and its start has not come")
    assert given.offset is not None
    until = taking.now + timedelta(seconds=seconds)
    instance.status = EARLY
    instance.finished = None
    instance.inputs = (*waiting, given)
    instance.timers = (*instance.timers, Timer(TIMER, given.offset, due=until))
    taking.taken.append(given)
    taking.say("event.early", f"{given.event.type} is kept until {until.isoformat()}: the instance has not started")
    return None


def expire(taking: Taking, fired: tuple[str, int]) -> None:
    """The time of an event that is kept is over."""
    instance = taking.instance
    for given in instance.inputs:
        if given.offset == fired[1]:
            note = f"no instance {instance.id} has started in time"
            taking.give_up(given, note)
            taking.say("event.expired", note)
    instance.inputs = tuple(other for other in instance.inputs if other.offset != fired[1])
    if not instance.inputs:
        instance.status = EXPIRED
        instance.finished = taking.now


def _same(given: Given, other: Given) -> bool:
    """The router may bring an event twice."""
    if given.value != other.value:
        return False
    try:
        return (given.event.source, given.event.id) == (other.event.source, other.event.id)
    except DecodeError:
        return False


def _unknown(note: str) -> Deflected:
    return Deflected("UNKNOWN_INSTANCE", note)
