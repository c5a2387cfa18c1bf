"""Where does a partition begin and end, and what has a group committed?"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.offset import OffsetRequest

from orchestra.errors import TransportError, UnreachableError
from orchestra.transport.kafka.failures import NO_ERROR, UNKNOWN_TOPIC, failure
from orchestra.transport.kafka.network import GROUP, Network
from orchestra.transport.port import Committed, Partition

EARLIEST: Final = -2
LATEST: Final = -1
"""The high watermark: what all in-sync replicas have; the last stable offset where that is asked for."""

_CONSUMER, _READ_UNCOMMITTED, _READ_COMMITTED = -1, 0, 1


async def list_offsets(
    network: Network, partitions: Collection[Partition], when: int, *, stable: bool = False
) -> dict[Partition, int]:
    """The first (EARLIEST) or the next (LATEST) offset of each partition.

    Raises:
        TopicError, UnreachableError, AccessDeniedError.
    """
    left = set(partitions)
    found: dict[Partition, int] = {}

    async def attempt() -> None:
        by_leader: dict[int, list[Partition]] = {}
        for partition in sorted(left):
            leader = network.leader(partition)
            if leader is None:
                await network.require({each.topic for each in left})
                leader = network.leader(partition)
            if leader is None:
                raise failure(UNKNOWN_TOPIC, f"{partition.topic}[{partition.number}]")
            by_leader.setdefault(leader, []).append(partition)
        for leader, theirs in by_leader.items():
            found.update(
                await _ask_leader(network, leader, theirs, when, _READ_COMMITTED if stable else _READ_UNCOMMITTED)
            )
            left.difference_update(found)
        if left:
            raise UnreachableError("leaders have moved")

    if left:
        await network.persist(attempt, "asking for offsets")
    return found


async def _ask_leader(
    network: Network, leader: int, partitions: Collection[Partition], when: int, isolation: int
) -> dict[Partition, int]:
    topics: dict[str, list[tuple[int, int]]] = {}
    for topic, number in partitions:
        topics.setdefault(topic, []).append((number, when))
    try:
        answer = await network.ask(leader, OffsetRequest(_CONSUMER, isolation, list(topics.items())))
    except Exception:
        for partition in partitions:
            network.forget(partition)
        raise
    found: dict[Partition, int] = {}
    refused: TransportError | None = None
    for topic, rows in answer.topics:
        for number, code, _, offset in rows:
            if code == NO_ERROR:
                found[Partition(topic, number)] = offset
                continue
            network.forget(Partition(topic, number))
            if code != UNKNOWN_TOPIC:  # of which the metadata has the last word
                error = failure(code, f"asking {topic}[{number}] for offsets")
                refused = refused if isinstance(error, UnreachableError) else error
    if refused is not None:
        raise refused
    return found


async def committed_places(
    network: Network, group: str, partitions: Collection[Partition]
) -> dict[Partition, Committed]:
    """What the group has committed, with the notes; a partition without a commit is not in it.

    Raises:
        UnreachableError, AccessDeniedError.
    """
    topics: dict[str, list[int]] = {}
    for topic, number in partitions:
        topics.setdefault(topic, []).append(number)

    async def attempt() -> dict[Partition, Committed]:
        node = await network.coordinator(GROUP, group)
        answer = await network.ask(node, OffsetFetchRequest(group, list(topics.items())))
        found: dict[Partition, Committed] = {}
        for topic, rows in answer.topics:
            for number, offset, note, code in rows:
                if code != NO_ERROR:
                    raise failure(code, f"asking what {group!r} has committed")
                if offset >= 0:
                    found[Partition(topic, number)] = Committed(offset, note or "")
        if getattr(answer, "error_code", NO_ERROR) != NO_ERROR:
            raise failure(answer.error_code, f"asking what {group!r} has committed")
        return found

    return await network.persist(attempt, f"asking what {group!r} has committed") if topics else {}
