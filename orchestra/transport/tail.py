"""What stands in a partition now? For commands that look; whoever follows a log keeps a reader of his own."""

from __future__ import annotations

from orchestra.transport.port import Partition, Record, Transport

_QUIET_SECONDS = 3.0
_BATCH = 500


async def read_all(transport: Transport, partition: Partition) -> list[Record]:
    """Every record that stands there now, in order. Raises UnreachableError."""
    start, end = (await transport.topics.bounds([partition]))[partition]
    return await _read(transport, partition, start, end)


async def read_newest(transport: Transport, partition: Partition, most: int) -> list[Record]:
    """Up to ``most`` of the newest records that stand there now, in order."""
    start, end = (await transport.topics.bounds([partition]))[partition]
    return (await _read(transport, partition, max(start, end - most), end))[-most:]


async def _read(transport: Transport, partition: Partition, offset: int, end: int) -> list[Record]:
    """The records from ``offset`` up to, not including, ``end``. Fewer where the log gives none for some seconds: the
    last offsets of a compacted partition may hold nothing."""
    found: list[Record] = []
    if offset >= end:
        return found
    reader = await transport.reader(partition, offset=offset)
    try:
        while not found or found[-1].offset < end - 1:
            batch = await reader.fetch(max_records=_BATCH, timeout=_QUIET_SECONDS)
            if not batch:
                break
            found += [record for record in batch if record.offset < end]
    finally:
        await reader.aclose()
    return found
