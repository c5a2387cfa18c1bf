"""Which records of the inbox need nobody any more?"""

from __future__ import annotations

from orchestra.transport.port import Partition, Transport


async def trim_inbox(transport: Transport, partition: Partition, *, durable: int, before_ms: float) -> int:
    """Delete the inbox's records that are older than a time, by the broker's own clock; never one above ``durable``.

    Gives the offset at which the inbox now begins. Raises TransportError; idempotent.
    """
    bounds = (await transport.topics.bounds([partition]))[partition]
    low, high = bounds.start, min(bounds.end, durable + 1)
    while low < high:  # the first record that is young enough, by bisection
        middle = (low + high) // 2
        found = await _append_ms(transport, partition, middle)
        if found is not None and found[1] < before_ms:
            low = found[0] + 1
        else:
            high = middle
    first = min(low, durable + 1)
    if first > bounds.start:
        await transport.topics.delete_records({partition: first})
    return max(first, bounds.start)


async def _append_ms(transport: Transport, partition: Partition, offset: int) -> tuple[int, float] | None:
    """Offset and time of the first record at or behind an offset."""
    reader = await transport.reader(partition, offset=offset)
    try:
        records = await reader.fetch(max_records=1, timeout=1.0)
    finally:
        await reader.aclose()
    return (records[0].offset, records[0].timestamp_ms) if records else None
