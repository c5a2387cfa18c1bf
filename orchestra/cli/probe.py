"""Does this cluster do what orchestra leans on? Tried out in a probe topic, which is removed again.

What is tried here runs on any transport, so the tests can show it a cluster whose fence does not hold.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Literal

from orchestra.clock import Clock
from orchestra.errors import FencedError, OrchestraError, TransportError
from orchestra.ids import new_id
from orchestra.settings import Settings
from orchestra.transport.partitioner import partition_for
from orchestra.transport.port import FencedLog, Outgoing, Partition, TopicSpec, Transport
from orchestra.transport.tail import read_newest

_PARTITIONS = 6
_KEYS = 60
_APPENDS = 20
_SKEW_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: what was looked at, in a word or two.
        state: ``warning``: it works, and yet a person should know.
        text: what was found.
        remedy: what to do about it, where something is wrong.
        code: with what the process exits if this is the first failure.
    """

    check: str
    state: Literal["ok", "warning", "failed"]
    text: str
    remedy: str = ""
    code: int = 1


class _Breach(Exception):  # noqa: N818  a finding, no error of ours
    """The fence did not hold; says which step showed it."""


async def probe_cluster(transport: Transport, settings: Settings, clock: Clock) -> list[Finding]:
    """Try the partitioner, the broker's clock and the fence. The transport is started; nothing is left behind."""
    name = settings.scoped(f"orchestra-doctor-{new_id()}")
    try:
        async with _probe_topic(transport, name):
            return [
                await _guarded("partitioner", _try_partitioner(transport, name)),
                await _guarded("clock", _try_clock(transport, name, clock)),
                *await _try_fence(transport, name, clock),
            ]
    except OrchestraError as error:
        remedy = (
            f"allow the client to create, write, read and delete topics named {settings.scoped('orchestra-doctor-')}*"
        )
        return [Finding("probe topic", "failed", f"nothing could be tried: {error}", remedy)]


@asynccontextmanager
async def _probe_topic(transport: Transport, name: str) -> AsyncGenerator[None]:
    await transport.topics.create([TopicSpec(name, _PARTITIONS, {"message.timestamp.type": "LogAppendTime"})])
    try:
        yield
    finally:
        await transport.topics.delete([name])


async def _guarded(check: str, finding: Coroutine[None, None, Finding]) -> Finding:
    try:
        return await finding
    except TransportError as error:
        return Finding(check, "failed", str(error), "see the broker's log")


async def _try_partitioner(transport: Transport, topic: str) -> Finding:
    """Keys that this client's producer places by itself must lie where Java's murmur2 puts them."""
    keys = [f"key-{number}".encode() for number in range(_KEYS)]
    publisher = transport.publisher()
    await publisher.start()
    try:
        positions = await publisher.publish([Outgoing(topic, key, b"") for key in keys])
    finally:
        await publisher.aclose()
    strays = [key for key, at in zip(keys, positions, strict=True) if at.partition != partition_for(key, _PARTITIONS)]
    if strays:
        return Finding(
            "partitioner",
            "failed",
            f"{len(strays)} of {_KEYS} keys do not lie where murmur2 puts them, {strays[0].decode()} among them",
            "do not wrap or replace the client's partitioner",
        )
    return Finding("partitioner", "ok", f"{_KEYS} of {_KEYS} keys lie where Java's murmur2 puts them")


async def _try_clock(transport: Transport, topic: str, clock: Clock) -> Finding:
    """The broker stamps a record; that must agree with our own time, or expiry and timeouts mean different things."""
    publisher = transport.publisher()
    await publisher.start()
    try:
        before = clock.now().timestamp()
        await publisher.publish([Outgoing(topic, None, b"", partition=0)])
        after = clock.now().timestamp()
    finally:
        await publisher.aclose()
    stored = await read_newest(transport, Partition(topic, 0), 1)
    if not stored:
        return Finding("clock", "failed", "a record that was acknowledged cannot be read", "see the broker's log")
    stamped = stored[0].timestamp_ms / 1000
    skew = stamped - before if stamped < before else max(0.0, stamped - after)
    if abs(skew) > _SKEW_SECONDS:
        which = "ahead of" if skew > 0 else "behind"
        return Finding(
            "clock",
            "warning",
            f"the broker is {abs(skew):.1f} s {which} this machine",
            "let all machines follow one time source; commands expire by the clock",
        )
    return Finding("clock", "ok", f"the broker and this machine agree within {max(abs(skew), 0.01):.2f} s")


async def _try_fence(transport: Transport, topic: str, clock: Clock) -> list[Finding]:
    partition = Partition(topic, 1)
    logs: list[FencedLog] = []

    async def opened() -> FencedLog:
        logs.append(await transport.fenced_log(topic, partition))
        return logs[-1]

    try:
        took = await _prove_fence(transport, partition, opened, clock)
    except (_Breach, TransportError) as breach:
        remedy = "do not run a coordinator on this cluster; the fence is proven for Apache Kafka 4.3.1"
        return [Finding("fence", "failed", str(breach), remedy)]
    finally:
        for log in logs:
            await log.aclose()
    return [
        Finding("fence", "ok", "an owner that was replaced can append nothing, nor can one behind a barrier"),
        Finding("append", "ok", f"a coordinator's append takes {took * 1000:.1f} ms (median of {_APPENDS})"),
    ]


async def _prove_fence(
    transport: Transport, partition: Partition, opened: Callable[[], Coroutine[None, None, FencedLog]], clock: Clock
) -> float:
    """Two owners, one after the other, and a barrier. Gives the median seconds of an append. Raises _Breach."""
    old = await opened()
    await _append(old, b"!claim", b"old")
    took = sorted([await _timed(old, clock) for _ in range(_APPENDS)])[_APPENDS // 2]
    new = await opened()
    if not (new.identity.producer_id != old.identity.producer_id or new.identity.epoch > old.identity.epoch):
        raise _Breach(f"a new owner got {new.identity}, which is not above {old.identity}")
    await _append(new, b"!claim", b"new")
    await _must_be_fenced(old, "an owner that was replaced")
    await transport.shut_out(new.identity.producer_id, partition, b"!barrier")
    await _must_be_fenced(new, "an owner behind a barrier")
    stored = [record.value for record in await read_newest(transport, partition, 10 * _APPENDS)]
    if b"zombie" in stored:
        raise _Breach("a refused append was stored after all")
    if stored[-2:] != [b"new", None]:
        raise _Breach("the log does not hold what was acknowledged")
    return took


async def _must_be_fenced(log: FencedLog, who: str) -> None:
    with suppress(FencedError):
        offset = await _append(log, b"zombie", b"zombie")
        raise _Breach(f"{who} could still append, at offset {offset}: the fence does not hold")


async def _append(log: FencedLog, key: bytes, value: bytes) -> int:
    return await (await log.append(key, value))


async def _timed(log: FencedLog, clock: Clock) -> float:
    begun = clock.elapsed()
    await _append(log, b"timed", b"x" * 300)
    return clock.elapsed() - begun


async def sample_keys(transport: Transport, topics: list[str], *, newest: int = 20) -> Finding:
    """Whether the newest keyed records of these topics lie where murmur2 puts them, whoever wrote them."""
    states = await transport.topics.describe(topics)
    checked, strays = 0, list[str]()
    for partition in (Partition(name, number) for name in states for number in range(states[name].partitions)):
        for key in [record.key for record in await read_newest(transport, partition, newest) if record.key is not None]:
            checked += 1
            wanted = partition_for(key, states[partition.topic].partitions)
            if wanted != partition.number:
                strays.append(f"{partition.topic}: key {key!r} is in {partition.number}, murmur2 says {wanted}")
    if strays:
        return Finding(
            "keys",
            "warning",
            f"{len(strays)} of {checked} keys lie elsewhere; {strays[0]}",
            "such a producer breaks the order per key; with librdkafka, set partitioner=murmur2_random",
        )
    told = f"{checked} of {checked} keys lie where murmur2 puts them" if checked else "there are no keyed records yet"
    return Finding("keys", "ok", told)
