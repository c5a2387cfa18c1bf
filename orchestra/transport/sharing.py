"""Which member of a group reads which partition? (pure)"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from orchestra.transport.port import Partition

_Unit = tuple[Partition, ...]
"""Partitions that go to one member."""


def share_out(
    topics: Mapping[str, Collection[str]],
    partitions: Mapping[str, int],
    previous: Mapping[str, Collection[Partition]],
    together: Collection[Collection[str]] = (),
) -> dict[str, list[Partition]]:
    """Give every partition to a member that reads its topic: evenly, and where it was before as far as that allows.

    Args:
        topics: member -> the topics it reads.
        partitions: topic -> how many partitions it has.
        previous: member -> what it had.
        together: sets of topics whose partitions of one number go to one member, where one reads them all; such sets
            that have a topic in common are one.
    """
    result: dict[str, list[Partition]] = {name: [] for name in sorted(topics)}
    sets = [members for each in _joined(together) if (members := sorted(partitions.keys() & each))]
    joined = frozenset(topic for each in sets for topic in each)
    for each in sets:
        widest = max(partitions[topic] for topic in each)
        numbered = [tuple(Partition(t, n) for t in each if n < partitions[t]) for n in range(widest)]
        _share(_readable(numbered, topics), topics, previous, result)
    alone: list[_Unit] = [
        (Partition(topic, number),)
        for topic, count in partitions.items()
        if topic not in joined
        for number in range(count)
    ]
    _share(alone, topics, previous, result)
    return {name: sorted(mine) for name, mine in result.items()}


def _joined(together: Collection[Collection[str]]) -> list[frozenset[str]]:
    sets: list[frozenset[str]] = []
    for each in map(frozenset[str], together):
        touching = [other for other in sets if other & each]
        sets = [other for other in sets if not other & each]
        sets.append(each.union(*touching))
    return sorted(sets, key=sorted)


def _readable(units: Sequence[_Unit], topics: Mapping[str, Collection[str]]) -> list[_Unit]:
    """The units, those that no member reads whole taken apart."""
    found: list[_Unit] = []
    for unit in units:
        needed = {partition.topic for partition in unit}
        if any(needed <= frozenset(read) for read in topics.values()):
            found.append(unit)
        else:
            found.extend((partition,) for partition in unit)
    return found


def _share(
    units: Sequence[_Unit],
    topics: Mapping[str, Collection[str]],
    previous: Mapping[str, Collection[Partition]],
    result: dict[str, list[Partition]],
) -> None:
    """Give units of one kind to members, beside what these have already."""
    free = set(units)
    unit_of = {partition: unit for unit in units for partition in unit}
    share, spare = divmod(len(free), len(result)) if result else (0, 0)
    for name, mine in result.items():
        had = dict.fromkeys(unit_of[p] for p in sorted(previous.get(name, ())) if p in unit_of)
        kept = [unit for unit in had if unit in free and _reads(topics[name], unit)]
        extra = spare > 0 and len(kept) > share
        spare -= extra
        for unit in kept[: share + extra]:
            mine.extend(unit)
            free.discard(unit)
    for unit in sorted(free):
        readers = [name for name in result if _reads(topics[name], unit)]
        if readers:
            result[min(readers, key=lambda name: len(result[name]))].extend(unit)


def _reads(topics: Collection[str], unit: _Unit) -> bool:
    return all(partition.topic in topics for partition in unit)
