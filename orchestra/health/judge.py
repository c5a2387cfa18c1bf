"""Is it well? From facts, and from since when they are so, to the answers of ``/live``, ``/ready``, ``/lag``. Pure.

What makes ``/live`` fail is what a restart may mend: a client that takes nothing in, handlers that cannot be ended.
Brokers that are away are none of it for a long time, and lag never is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestra.health.facts import GroupFacts, PartitionFacts, ProcessFacts, UnitFacts
from orchestra.health.history import History, fetches_nothing_for
from orchestra.settings import Settings

State = Literal["idle", "busy", "paused", "stuck"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as too long, in seconds.

    Attributes:
        stall: nothing is fetched though there are records; a handler that was given up goes on.
        rejoin: no member of the group, though brokers answer.
        absence: brokers are called away from then on: not ready.
        brokers: away for so long, the process counts as dead; 0: never.
        rebalance: no member for so long, not ready.
        held: a handler without a timeout works for so long: stuck, in ``/lag`` alone.
    """

    stall: float = 60.0
    rejoin: float = 180.0
    absence: float = 20.0
    brokers: float = 600.0
    rebalance: float = 10.0
    held: float = 600.0


def limits_of(settings: Settings) -> Limits:
    """The limits that the settings ask for."""
    return Limits(
        stall=settings.stall_timeout,
        rejoin=settings.stall_timeout + settings.rebalance_timeout + settings.session_timeout,
        absence=max(20.0, 2 * settings.request_timeout),
        brokers=settings.broker_timeout,
        rebalance=settings.rebalance_timeout,
    )


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer. ``problems``: why it is no; ``notes``: what is not well and yet no reason."""

    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_ok(self) -> bool:
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """``ok``, ``problems``, ``notes``."""
        return {"ok": self.is_ok, "problems": list(self.problems), "notes": list(self.notes)}


@dataclass(frozen=True, slots=True)
class Lag:
    """How far behind a group is in one partition.

    Attributes:
        committed: the group's stored place; None: none yet, or not known.
        end: the offset that the next record will get; None: not known.
        lag: records between them; None: not known.
        age: seconds since the oldest record that is not done was written; None: there is none, or it is not fetched.
        window: records fetched and not done.
        state, why: idle (nothing to do), busy, paused (on purpose; why), stuck (it will not mend itself; why).
    """

    unit: str
    group: str
    topic: str
    partition: int
    committed: int | None
    end: int | None
    lag: int | None
    age: float | None
    window: int
    state: State
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """All answers. ``stalled``: units whose client is dead, with why: they are to be made anew."""

    live: Verdict
    ready: Verdict
    lag: tuple[Lag, ...]
    stalled: Mapping[str, str] = field(default_factory=dict[str, str])


def judge(facts: ProcessFacts, history: History, limits: Limits, *, now: float, now_ms: float) -> Health:
    """The answers at this moment.

    Args:
        facts: of this moment.
        history: with this look remembered.
        limits: what counts as too long.
        now: the process's clock.
        now_ms: the time of day, in milliseconds of Unix time.
    """
    silent = _silence(facts, now)
    stalled = {unit.name: why for unit in facts.units if (why := _stall(unit, history, limits, now)) is not None}
    problems = [f"{name}: {why}" for name, why in stalled.items()]
    problems += [text for unit in facts.units for text in _lost(unit, limits, now)]
    notes: list[str] = []
    if silent is not None and silent > limits.absence:
        away = f"no broker has answered for {silent:.0f} s{_because(facts.brokers.error)}"
        too_long = 0 < limits.brokers < silent
        problems += [away] if too_long else []
        notes += [] if too_long else [f"{away}; waiting for them"]
    notes += [f"{name} is starting" for name in facts.starting]
    return Health(
        live=Verdict(tuple(problems), tuple(notes)),
        ready=Verdict(tuple(_unready(facts, history, limits, silent, now))),
        lag=tuple(
            _lag(unit, group, each, facts, history, limits, now, now_ms)
            for unit in facts.units
            for group in unit.groups
            for each in group.partitions
        ),
        stalled=stalled,
    )


# ---- alive


def _silence(facts: ProcessFacts, now: float) -> float | None:
    return None if facts.brokers.answered is None else now - facts.brokers.answered


def _stall(unit: UnitFacts, history: History, limits: Limits, now: float) -> str | None:
    """Why a unit's client counts as dead. Time in which brokers were away, or this process slept, does not count."""
    if unit.is_stopping or history.answering is None:
        return None
    for group in unit.groups:
        unpolled = now - max(group.fetched, history.answering)
        if unpolled > limits.stall:
            return f"group {group.group}: no fetch has ended for {unpolled:.0f} s, though brokers answer"
        outside = now - max(history.outside.get(group.group, now), history.answering)
        if outside > limits.rejoin:
            return f"group {group.group}: no member for {outside:.0f} s, though brokers answer"
        for each in group.partitions:
            still = fetches_nothing_for(history, group, (group.group, each.partition), now)
            if still > limits.stall:
                return f"{_named(each)}: nothing is fetched for {still:.0f} s, though there are records"
    return None


def _lost(unit: UnitFacts, limits: Limits, now: float) -> Iterable[str]:
    for handler in unit.lost:
        if (seconds := now - handler.since) > limits.stall:
            yield f"handler {handler.name} was given up {seconds:.0f} s ago, and still runs"


# ---- ready


def _unready(facts: ProcessFacts, history: History, limits: Limits, silent: float | None, now: float) -> Iterable[str]:
    if silent is None:
        yield f"brokers have not been reached yet{_because(facts.brokers.error)}"
    elif silent > limits.absence:
        yield f"no broker has answered for {silent:.0f} s{_because(facts.brokers.error)}"
    for name in facts.starting:
        yield f"{name} is starting"
    if not facts.units and not facts.starting:
        yield "nothing runs"
    for unit in facts.units:
        if unit.is_stopping:
            yield f"{unit.name} drains"
        for group in unit.groups:
            outside = now - history.outside.get(group.group, now)
            if not group.is_member and (group.group not in history.members or outside > limits.rebalance):
                yield f"{unit.name}: no member of group {group.group}"
        for text in unit.unready:
            yield f"{unit.name}: {text}"


# ---- lag


def _lag(
    unit: UnitFacts,
    group: GroupFacts,
    each: PartitionFacts,
    facts: ProcessFacts,
    history: History,
    limits: Limits,
    now: float,
    now_ms: float,
) -> Lag:
    end = facts.brokers.ends.get(each.partition)
    place = each.committed
    if place is None and each.position is not None:  # nothing stored yet
        place = each.position - each.window
    lag = None if end is None or place is None else max(0, end - place)
    state, why = _state(group, each, history, limits, lag=lag, now=now)
    return Lag(
        unit=unit.name,
        group=group.group,
        topic=each.partition.topic,
        partition=each.partition.number,
        committed=each.committed,
        end=end,
        lag=lag,
        age=None if each.oldest_ms is None else round(max(0.0, (now_ms - each.oldest_ms) / 1000), 3),
        window=each.window,
        state=state,
        why=why,
    )


def _state(
    group: GroupFacts, each: PartitionFacts, history: History, limits: Limits, *, lag: int | None, now: float
) -> tuple[State, str | None]:
    place = (group.group, each.partition)
    if (why := _stuck(group, each, history, limits, now)) is not None:
        return "stuck", why
    if each.waiting and not each.busy:
        return "paused", _listed(each.waiting)
    if each.paused is not None:
        return "paused", each.paused
    if each.busy or each.window:
        return "busy", _listed(each.waiting) or None
    return ("busy", None) if lag or place in history.behind else ("idle", None)


def _stuck(group: GroupFacts, each: PartitionFacts, history: History, limits: Limits, now: float) -> str | None:
    place = (group.group, each.partition)
    if each.stopped is not None:
        return each.stopped
    if each.overdue is not None:
        return f"handler {each.overdue} ignores its cancellation"
    if (still := fetches_nothing_for(history, group, place, now)) > limits.stall:
        return f"nothing is fetched for {still:.0f} s, though there are records"
    held = history.held.get(place)
    if held is not None and each.is_open_ended and now - held.since > limits.held:
        return f"a handler without a timeout has been at work, and nothing done, for {now - held.since:.0f} s"
    return None


def _listed(waiting: Mapping[str, int]) -> str:
    """The reasons, the most frequent first, at most three."""
    often = sorted(waiting.items(), key=lambda item: (-item[1], item[0]))[:3]
    return ", ".join(f"{why} ({count} record{'s' if count > 1 else ''})" for why, count in often)


def _named(each: PartitionFacts) -> str:
    return f"{each.partition.topic}[{each.partition.number}]"


def _because(error: str | None) -> str:
    return "" if error is None else f": {error}"
