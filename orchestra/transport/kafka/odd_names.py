"""How is a batch read in which a header's name is no UTF-8? aiokafka cannot: one such record would stop its partition.

Kafka takes any bytes for the name of a header, and clients that are not Java's send them as they are. Java's reads them
with replacements, and so it is done here: every byte that is not ASCII in a name that is no UTF-8 becomes ``?``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.util import decode_varint

from orchestra.errors import TransportError, UnreachableError
from orchestra.transport.kafka.failures import NO_ERROR, failure
from orchestra.transport.kafka.network import Network
from orchestra.transport.port import Partition

_HEAD = struct.Struct(">qi")
_FETCH_BYTES = 4 << 20
_READ_UNCOMMITTED = 0


class OddNamesError(Exception):
    """The batch of this partition that begins at ``base_offset`` has such a name."""

    def __init__(self, partition: Partition, base_offset: int) -> None:
        super().__init__(f"{partition.topic}[{partition.number}]@{base_offset}: a header's name is not UTF-8")
        self.partition = partition
        self.base_offset = base_offset


async def fetch_readable(network: Network, odd: OddNamesError) -> Any:
    """The batch, in a form that can be read.

    Raises:
        UnreachableError: the brokers do not give it now.
        TransportError: they will not.
    """
    topic, number = odd.partition

    async def attempt() -> Any:
        leader = network.leader(odd.partition)
        if leader is None:
            await network.learn([topic])
            raise UnreachableError(f"{odd}: no leader is known")
        places = [(topic, [(number, odd.base_offset, _FETCH_BYTES)])]
        answer = await network.ask(leader, FetchRequest(500, 1, _FETCH_BYTES, _READ_UNCOMMITTED, places, ""))
        _, code, _, *rest = answer.topics[0][1][0]
        if code != NO_ERROR:
            network.forget(odd.partition)
            raise failure(code, str(odd))
        return readable(rest[-1], odd.base_offset)

    return await network.persist(attempt, str(odd))


def readable(data: bytes, base_offset: int) -> Any:
    """The batch of these bytes that begins there, in a form that can be read.

    Raises:
        TransportError: it is not there.
    """
    for raw in _batches(data):
        if _HEAD.unpack_from(raw)[0] == base_offset:
            batch: Any = _DefaultRecordBatchPy(raw)
            batch._maybe_uncompress()
            _mend(batch._buffer, batch._pos, batch._num_records)
            return batch
    raise TransportError(f"the batch at {base_offset} is not there any more")


def _batches(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + _HEAD.size <= len(data):
        end = at + _HEAD.size + _HEAD.unpack_from(data, at)[1]
        if end <= len(data):
            yield data[at:end]
        at = end


def _mend(records: bytearray, at: int, count: int) -> None:
    """Walk from header to header, and mend the names where they stand: no length changes."""
    for _ in range(count):
        length, at = decode_varint(records, at)
        end = at + length
        for _ in ("attributes", "timestamp", "offset"):
            _, at = decode_varint(records, at)
        for _ in ("key", "value"):
            at = _behind(records, at)
        headers, at = decode_varint(records, at)
        for _ in range(headers):
            begin = decode_varint(records, at)[1]
            at = _behind(records, at)
            records[begin:at] = _mended(bytes(records[begin:at]))
            at = _behind(records, at)
        at = end


def _behind(records: bytearray, at: int) -> int:
    """Where the bytes end that begin with their length, -1 for none."""
    length, begin = decode_varint(records, at)
    return int(begin + max(length, 0))


def _mended(name: bytes) -> bytes:
    try:
        name.decode()
    except UnicodeDecodeError:
        return name.decode("ascii", "replace").encode("ascii", "replace")
    return name
