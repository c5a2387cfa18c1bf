"""Which member of a group reads which partition? (pure)"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from orchestra.transport.port import Partition


def share_out(
    topics: Mapping[str, Collection[str]],
    partitions: Mapping[str, int],
    previous: Mapping[str, Collection[Partition]],
) -> dict[str, list[Partition]]:
    """Give every partition to a member that reads its topic: evenly, and where it was before as far as that allows.

    Args:
        topics: member -> the topics it reads.
        partitions: topic -> how many partitions it has.
        previous: member -> what it had.
    """
    free = {Partition(topic, number) for topic, count in partitions.items() for number in range(count)}
    result: dict[str, list[Partition]] = {name: [] for name in sorted(topics)}
    share, spare = divmod(len(free), len(result)) if result else (0, 0)
    for name, mine in result.items():
        kept = [p for p in sorted(previous.get(name, ())) if p in free and p.topic in topics[name]]
        extra = spare > 0 and len(kept) > share
        spare -= extra
        mine.extend(kept[: share + extra])
        free.difference_update(mine)
    for partition in sorted(free):
        readers = [name for name in result if partition.topic in topics[name]]
        if readers:
            result[min(readers, key=lambda name: len(result[name]))].append(partition)
    return {name: sorted(mine) for name, mine in result.items()}
