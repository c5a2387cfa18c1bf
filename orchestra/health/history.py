"""Since when is it so? What one look at the facts cannot tell: that something does not move. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestra.health.facts import GroupFacts, PartitionFacts, ProcessFacts
from orchestra.transport.port import Partition

Place = tuple[str, Partition]
"""Group and partition: two services of one process may read the same topic."""


@dataclass(frozen=True, slots=True)
class Still:
    """A number that has not changed since a moment."""

    value: int | None
    since: float


@dataclass(frozen=True, slots=True)
class History:
    """What was seen in the looks so far.

    Attributes:
        looked: when the last look was; None: this is the first.
        answering: since when brokers answer without a pause worth the name; None: they do not.
        behind: fetching stands at this offset, though the partition reaches further.
        held: this offset (the group's place) is the oldest that is not done.
        outside: since when this process is no member of the group.
        members: groups that it was a member of once.
    """

    looked: float | None = None
    answering: float | None = None
    behind: Mapping[Place, Still] = field(default_factory=dict[Place, Still])
    held: Mapping[Place, Still] = field(default_factory=dict[Place, Still])
    outside: Mapping[str, float] = field(default_factory=dict[str, float])
    members: frozenset[str] = frozenset()


def remember(before: History, facts: ProcessFacts, now: float, *, pause: float) -> History:
    """The history after a look at ``now``.

    A look that comes more than ``pause`` seconds after the last one begins anew: this process was suspended meanwhile,
    and whatever did not move then could not.
    """
    if before.looked is None or now - before.looked > pause:
        before = History(members=before.members)
    groups = [group for unit in facts.units if not unit.is_stopping for group in unit.groups]
    behind: dict[Place, Still] = {}
    held: dict[Place, Still] = {}
    for group in groups:
        for each in group.partitions:
            place = (group.group, each.partition)
            if _is_behind(each, facts):
                behind[place] = _still(before.behind.get(place), each.position, now)
            if each.window:
                held[place] = _still(before.held.get(place), each.committed, now)
    return History(
        looked=now,
        answering=_answering(before, facts, now, pause),
        behind=behind,
        held=held,
        outside={group.group: before.outside.get(group.group, now) for group in groups if not group.is_member},
        members=before.members | {group.group for group in groups if group.is_member},
    )


def fetches_nothing_for(history: History, group: GroupFacts, place: Place, now: float) -> float:
    """Seconds for which a partition was not fetched though it could have been: brokers answered, there was room."""
    still = history.behind.get(place)
    if still is None or history.answering is None:
        return 0.0
    return now - max(still.since, history.answering, group.received)


def _is_behind(partition: PartitionFacts, facts: ProcessFacts) -> bool:
    end = facts.brokers.ends.get(partition.partition)
    is_fetched = partition.paused is None and partition.stopped is None
    return is_fetched and end is not None and partition.position is not None and partition.position < end


def _still(before: Still | None, value: int | None, now: float) -> Still:
    return before if before is not None and before.value == value else Still(value, now)


def _answering(before: History, facts: ProcessFacts, now: float, pause: float) -> float | None:
    answered = facts.brokers.answered
    if answered is None or now - answered > pause:
        return None
    return before.answering if before.answering is not None else now
