"""What stands in a partition now? For commands that look; whoever follows a log keeps a reader of his own."""

from __future__ import annotations

from collections.abc import AsyncGenerator

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
    return [record async for batch in read_range(transport, partition, offset, end) for record in batch]


async def read_range(transport: Transport, partition: Partition, offset: int, end: int) -> AsyncGenerator[list[Record]]:
    """The records from ``offset`` up to, not including, ``end``, in batches; fewer as above. Raises TransportError."""
    if offset >= end:
        return
    reader = await transport.reader(partition, offset=offset)
    try:
        last = offset - 1
        while last < end - 1:
            batch = await reader.fetch(max_records=_BATCH, timeout=_QUIET_SECONDS)
            if not batch:
                break
            last = batch[-1].offset
            yield [record for record in batch if record.offset < end]
    finally:
        await reader.aclose()
