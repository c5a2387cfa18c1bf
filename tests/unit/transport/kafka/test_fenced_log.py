"""What a fenced log does with each word of the leader: go on, repeat the same bytes, or die."""

from __future__ import annotations

import asyncio

import aiokafka.errors as kafka_errors
import pytest

from orchestra.errors import (
    AccessDeniedError,
    ClosedError,
    FenceBreachedError,
    FencedError,
    OutcomeUnknownError,
)
from orchestra.transport.kafka.fenced_log import KafkaFencedLog
from orchestra.transport.port import Identity, Partition
from tests.unit.transport.kafka.scripted_network import ScriptedNetwork

pytestmark = pytest.mark.virtual_time

NOT_LEADER, UNKNOWN_TOPIC, DENIED, OUT_OF_ORDER, DUPLICATE, OLD_EPOCH = 6, 3, 29, 45, 46, 47


def log_on(network: ScriptedNetwork, *, end: int = 0) -> KafkaFencedLog:
    return KafkaFencedLog(network, Partition("t", 0), Identity(7, 3), end=end, delivery_timeout=10.0)


async def outcome(future: asyncio.Future[int]) -> int | type[BaseException]:
    await asyncio.wait([future])
    error = future.exception()
    return type(error) if error else future.result()


async def test_batches_carry_the_identity_and_count_on() -> None:
    network = ScriptedNetwork()
    log = log_on(network)

    for _ in range(2):
        await asyncio.wait([await log.append(b"k", b"1"), await log.append(b"k", b"2")])

    assert [(identity, sequence) for _, identity, sequence, _, _ in network.batches] == [((7, 3), 0), ((7, 3), 2)]
    await log.aclose()


async def test_same_bytes_are_repeated_until_the_leader_speaks() -> None:
    network = ScriptedNetwork(NOT_LEADER, UNKNOWN_TOPIC, kafka_errors.RequestTimedOutError())
    log = log_on(network)

    future = await log.append(b"k", b"1")
    await asyncio.sleep(0)
    later = await log.append(b"k", b"2")

    assert [await outcome(future), await outcome(later)] == [0, 1]
    assert len({data for *_, data in network.batches[:4]}) == 1
    await log.aclose()


@pytest.mark.parametrize(
    ("answer", "error", "behind"),
    [
        (OLD_EPOCH, FencedError, FencedError),
        (OUT_OF_ORDER, FenceBreachedError, FenceBreachedError),
        (DUPLICATE, FenceBreachedError, FenceBreachedError),
        (DENIED, AccessDeniedError, OutcomeUnknownError),
    ],
)
async def test_log_dies_of_what_the_leader_refuses(
    answer: int, error: type[Exception], behind: type[Exception]
) -> None:
    network = ScriptedNetwork(answer)
    log = log_on(network)

    futures = [await log.append(b"k", b"%d" % number) for number in range(3)]
    outcomes = [await outcome(future) for future in futures]
    after = await outcome(await log.append(b"k", b"later"))

    assert outcomes == [error, behind, behind]
    assert isinstance(log.failure, error)
    assert after in (ClosedError, error)
    assert len(network.batches) == 1
    await log.aclose()


async def test_no_answer_in_time_is_unknown_and_the_last_word() -> None:
    network = ScriptedNetwork(*[kafka_errors.RequestTimedOutError()] * 10_000)
    log = log_on(network)
    first = await log.append(b"k", b"1")
    await asyncio.sleep(1)
    second = await log.append(b"k", b"2")

    assert [await outcome(first), await outcome(second)] == [OutcomeUnknownError, OutcomeUnknownError]
    sent = len(network.batches)
    await asyncio.sleep(60)

    assert len(network.batches) == sent
    assert all(values == [b"1"] for _, _, _, values, _ in network.batches)
    assert await outcome(await log.append(b"k", b"3")) is ClosedError


async def test_offset_below_the_end_at_opening_is_a_breach() -> None:
    """Another object with this identity has been here: the leader took our first record for one of its own."""
    log = log_on(ScriptedNetwork(), end=5)

    assert await outcome(await log.append(b"k", b"1")) is FenceBreachedError
    await log.aclose()


async def test_offset_that_does_not_exceed_the_last_is_a_breach() -> None:
    network = ScriptedNetwork()
    log = log_on(network)
    await asyncio.wait([await log.append(b"k", b"1")])
    network._ends.clear()

    assert await outcome(await log.append(b"k", b"2")) is FenceBreachedError
    await log.aclose()


async def test_append_waits_for_room_and_a_dead_log_lets_it_go() -> None:
    network = ScriptedNetwork(*[kafka_errors.RequestTimedOutError()] * 10_000)
    log = log_on(network)
    large = b"x" * (8 << 20)
    for _ in range(5):
        await log.append(b"k", large)
    waiting = asyncio.create_task(log.append(b"k", large))
    await asyncio.sleep(1)
    assert not waiting.done()

    await asyncio.sleep(20)

    assert await outcome(await waiting) is ClosedError


async def test_log_closed_at_once_tells_everybody() -> None:
    log = log_on(ScriptedNetwork())
    future = await log.append(b"k", b"1")

    await log.aclose()

    assert await outcome(future) is OutcomeUnknownError
