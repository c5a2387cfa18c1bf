"""What a publisher does with each word of the broker: repeat, give up, or begin anew under another identity."""

from __future__ import annotations

import asyncio

import aiokafka.errors as kafka_errors
import pytest

from orchestra.errors import (
    AccessDeniedError,
    OutcomeUnknownError,
    RecordTooLargeError,
    TopicError,
    TransportError,
    UnreachableError,
)
from orchestra.settings import Settings
from orchestra.transport.kafka.publisher import KafkaPublisher
from orchestra.transport.port import Delivery, Outgoing, Position
from tests.unit.transport.kafka.scripted_network import ScriptedNetwork

pytestmark = pytest.mark.virtual_time

NOT_LEADER, TOO_LARGE, DENIED, OUT_OF_ORDER, DUPLICATE = 6, 10, 29, 45, 46


async def publisher_on(network: ScriptedNetwork, *, linger: float = 0.0) -> KafkaPublisher:
    publisher = KafkaPublisher(network, Settings(delivery_timeout=10.0), linger=linger)
    await publisher.start()
    return publisher


async def send(publisher: KafkaPublisher, *values: bytes, partition: int = 0) -> list[asyncio.Future[Position]]:
    return [await publisher.send(Outgoing("t", b"k", value, partition=partition)) for value in values]


async def outcome(future: asyncio.Future[Position]) -> int | type[BaseException]:
    await asyncio.wait([future])
    error = future.exception()
    return type(error) if error else future.result().offset


async def test_records_sent_together_travel_together() -> None:
    network = ScriptedNetwork()
    publisher = await publisher_on(network)

    first, second = await send(publisher, b"1", b"2")

    assert (await first, await second) == (Position("t", 0, 0), Position("t", 0, 1))
    assert [values for _, _, _, values, _ in network.batches] == [[b"1", b"2"]]
    await publisher.aclose()


async def test_sequence_numbers_go_on_per_partition() -> None:
    network = ScriptedNetwork()
    publisher = await publisher_on(network)

    for partition in (0, 1, 0):
        await asyncio.wait(await send(publisher, b"1", b"2", partition=partition))

    assert [(place.number, sequence) for place, _, sequence, _, _ in network.batches] == [(0, 0), (1, 0), (0, 2)]
    assert network.identities == 1
    await publisher.aclose()


async def test_what_passes_by_itself_is_repeated_byte_for_byte() -> None:
    network = ScriptedNetwork(NOT_LEADER, kafka_errors.RequestTimedOutError(), kafka_errors.KafkaConnectionError("x"))
    publisher = await publisher_on(network)

    (future,) = await send(publisher, b"1")

    assert await outcome(future) == 0
    assert len(network.batches) == 4
    assert len({data for *_, data in network.batches}) == 1
    await publisher.aclose()


async def test_refused_record_costs_no_sequence_number_and_no_identity() -> None:
    network = ScriptedNetwork(TOO_LARGE)
    publisher = await publisher_on(network)

    (first,) = await send(publisher, b"large")
    assert await outcome(first) is RecordTooLargeError
    (second,) = await send(publisher, b"small")

    assert await outcome(second) == 0
    assert [sequence for _, _, sequence, _, _ in network.batches] == [0, 0]
    assert network.identities == 1
    await publisher.aclose()


async def test_batch_that_is_refused_for_one_record_is_sent_again_one_by_one() -> None:
    network = ScriptedNetwork(TOO_LARGE, 0, TOO_LARGE, 0)
    publisher = await publisher_on(network)

    futures = await send(publisher, b"1", b"large", b"3")

    assert [await outcome(future) for future in futures] == [0, RecordTooLargeError, 1]
    assert [values for _, _, _, values, _ in network.batches][1:] == [[b"1"], [b"large"], [b"3"]]
    await publisher.aclose()


async def test_denied_batch_fails_whole() -> None:
    network = ScriptedNetwork(DENIED)
    publisher = await publisher_on(network)

    futures = await send(publisher, b"1", b"2")

    assert [await outcome(future) for future in futures] == [AccessDeniedError] * 2
    await publisher.aclose()


async def test_broker_that_forgot_us_gets_the_batch_under_a_new_identity() -> None:
    network = ScriptedNetwork(0, OUT_OF_ORDER, 0)
    publisher = await publisher_on(network)
    await asyncio.wait(await send(publisher, b"1"))

    (future,) = await send(publisher, b"2")

    assert await outcome(future) == 1
    assert [(identity.producer_id, sequence) for _, identity, sequence, _, _ in network.batches] == [
        (1, 0),
        (1, 1),
        (2, 0),
    ]
    await publisher.aclose()


async def test_repeated_batch_that_is_out_of_order_is_unknown() -> None:
    """The first attempt may have been stored, before the broker forgot."""
    network = ScriptedNetwork(kafka_errors.RequestTimedOutError(), OUT_OF_ORDER)
    publisher = await publisher_on(network)

    (first,) = await send(publisher, b"1")
    assert await outcome(first) is OutcomeUnknownError
    (second,) = await send(publisher, b"2")

    assert await outcome(second) == 0
    assert network.batches[-1][1].producer_id == 2
    await publisher.aclose()


async def test_failure_of_one_partition_leaves_the_identity_of_another() -> None:
    network = ScriptedNetwork(0, 0, kafka_errors.RequestTimedOutError(), OUT_OF_ORDER)
    publisher = await publisher_on(network)
    for partition in (0, 1):
        await asyncio.wait(await send(publisher, b"1", partition=partition))
    await asyncio.wait(await send(publisher, b"2", partition=0))

    for partition in (0, 1):
        await asyncio.wait(await send(publisher, b"3", partition=partition))

    last = {place.number: (identity.producer_id, sequence) for place, identity, sequence, _, _ in network.batches}
    assert last == {0: (2, 0), 1: (1, 1)}
    await publisher.aclose()


async def test_duplicate_that_the_broker_no_longer_remembers_is_stored() -> None:
    network = ScriptedNetwork(kafka_errors.RequestTimedOutError(), DUPLICATE)
    publisher = await publisher_on(network)

    (future,) = await send(publisher, b"1")

    assert await outcome(future) == -1
    await publisher.aclose()


async def test_record_that_left_and_was_not_answered_is_unknown_and_never_sent_again() -> None:
    network = ScriptedNetwork(*[kafka_errors.RequestTimedOutError()] * 10_000)
    publisher = await publisher_on(network)

    first, *_ = await send(publisher, b"1")
    assert await outcome(first) is OutcomeUnknownError
    await asyncio.sleep(1)
    network.script.clear()
    sent = len(network.batches)
    (second,) = await send(publisher, b"2")

    assert await outcome(second) == 0
    assert [values for _, _, _, values, _ in network.batches[sent:]] == [[b"2"]]
    await publisher.aclose()


async def test_record_that_never_left_is_unreachable() -> None:
    network = ScriptedNetwork(*[kafka_errors.NodeNotReadyError("no connection")] * 10_000)
    publisher = await publisher_on(network)

    (future,) = await send(publisher, b"1")

    assert await outcome(future) is UnreachableError
    network.script.clear()
    assert await outcome((await send(publisher, b"2"))[0]) == 0
    await publisher.aclose()


async def test_record_that_was_said_not_to_be_stored_is_left_out_when_its_batch_leaves_after_all() -> None:
    network = ScriptedNetwork(*[kafka_errors.NodeNotReadyError("no connection")] * 10_000)
    publisher = await publisher_on(network, linger=3.0)
    (early,) = await send(publisher, b"early")
    await asyncio.sleep(2.5)
    (late,) = await send(publisher, b"late")

    assert await outcome(early) is UnreachableError
    network.script.clear()

    assert await outcome(late) == 0
    assert network.batches[-1][3] == [b"late"]
    await publisher.aclose()


async def test_record_behind_one_that_is_not_answered_is_unreachable() -> None:
    network = ScriptedNetwork(*[kafka_errors.RequestTimedOutError()] * 10_000)
    publisher = await publisher_on(network)
    first, *_ = await send(publisher, b"1")
    await asyncio.sleep(1)

    (behind,) = await send(publisher, b"2")

    assert await outcome(first) is OutcomeUnknownError
    network.script.clear()
    assert await outcome(behind) in (0, UnreachableError)
    await publisher.aclose()


async def test_partition_without_a_leader_is_waited_for() -> None:
    network = ScriptedNetwork()
    network.topics["t"].leaders[0] = -1
    publisher = await publisher_on(network)

    (future,) = await send(publisher, b"1")
    await asyncio.sleep(2)
    assert not future.done()
    network.topics["t"].leaders[0] = 1

    assert await outcome(future) == 0
    await publisher.aclose()


async def test_topic_that_goes_away_is_named_after_a_while() -> None:
    network = ScriptedNetwork()
    publisher = await publisher_on(network)
    await asyncio.wait(await send(publisher, b"1"))
    network.script = [3] * 1000
    network.topics.clear()

    (future,) = await send(publisher, b"2")

    assert await outcome(future) is TopicError
    assert "'t'" in str(future.exception())
    await publisher.aclose()


async def test_lingering_records_leave_together_when_the_oldest_has_waited() -> None:
    network = ScriptedNetwork()
    publisher = await publisher_on(network, linger=0.05)
    loop = asyncio.get_running_loop()
    began = loop.time()

    first, *_ = await send(publisher, b"1")
    await asyncio.sleep(0.03)
    second, *_ = await send(publisher, b"2")
    await asyncio.wait([first, second])

    assert loop.time() - began == pytest.approx(0.05, abs=0.02)
    assert [values for _, _, _, values, _ in network.batches] == [[b"1", b"2"]]
    await publisher.aclose()


async def test_partitions_that_were_added_are_seen_in_time() -> None:
    network = ScriptedNetwork(partitions=1)
    publisher = await publisher_on(network)
    network.topics["t"].leaders[1] = 1
    for _ in range(400):
        await asyncio.wait([await publisher.send(Outgoing("t", b"k", b"v"))])
        await asyncio.sleep(1)

    assert network.partitions("t") == 2
    await publisher.aclose()


async def test_no_space_is_left_taken_when_everything_has_ended() -> None:
    network = ScriptedNetwork(TOO_LARGE, 0, TOO_LARGE, 0, DENIED, kafka_errors.RequestTimedOutError(), OUT_OF_ORDER)
    publisher = await publisher_on(network)

    futures = await send(publisher, b"1", b"2", b"3")
    await asyncio.wait(futures)
    for value in (b"4", b"5", b"6"):
        futures += await send(publisher, value)
        await asyncio.wait(futures)
    cancelled, *_ = await send(publisher, b"7")
    cancelled.cancel()
    bad = await publisher.send(Outgoing("t", b"k", b"v", [("\ud800", b"")], partition=0))
    assert await outcome(bad) is TransportError
    await asyncio.sleep(1)

    assert (publisher._pending, publisher._bytes) == (0, 0)
    await publisher.aclose()


async def test_close_fails_what_is_not_answered() -> None:
    network = ScriptedNetwork(*[kafka_errors.RequestTimedOutError()] * 10_000)
    publisher = await publisher_on(network)
    (under_way,) = await send(publisher, b"1")
    await asyncio.sleep(0.2)
    (waiting,) = await send(publisher, b"2")

    await publisher.aclose()

    assert [await outcome(future) for future in (under_way, waiting)] == [OutcomeUnknownError, UnreachableError]


async def many(publisher: KafkaPublisher, *values: bytes) -> Delivery:
    return await publisher.send_many([Outgoing("t", b"k", value, partition=0) for value in values])


async def test_of_a_parcel_that_is_refused_only_the_guilty_record_fails() -> None:
    network = ScriptedNetwork(TOO_LARGE, 0, TOO_LARGE, 0)
    publisher = await publisher_on(network)

    failures = await (await many(publisher, b"1", b"2", b"3")).wait()

    assert {place: type(error) for place, error in failures.items()} == {1: RecordTooLargeError}
    assert [values for _, _, _, values, _ in network.batches] == [[b"1", b"2", b"3"], [b"1"], [b"2"], [b"3"]]
    assert (publisher._pending, publisher._bytes) == (0, 0)
    await publisher.aclose()


async def test_parcel_that_is_larger_than_a_batch_goes_in_several_in_order() -> None:
    network = ScriptedNetwork()
    publisher = await publisher_on(network)
    values = [b"%d" % n + bytes(2000) for n in range(500)]

    delivery = await many(publisher, *values)

    assert await delivery.wait() == {}
    assert len(network.batches) > 3
    assert [value for _, _, _, batch, _ in network.batches for value in batch] == values
    assert [sequence for _, _, sequence, _, _ in network.batches][1] == len(network.batches[0][3])
    assert (publisher._pending, publisher._bytes) == (0, 0)
    await publisher.aclose()


async def test_record_of_a_parcel_that_cannot_be_encoded_fails_alone() -> None:
    network = ScriptedNetwork()
    publisher = await publisher_on(network)
    bad = [Outgoing("t", b"k", b"v", [("\ud800", b"")], partition=0), Outgoing("t", b"k", "text", partition=0)]  # type: ignore[arg-type]
    good = [Outgoing("t", b"k", b"%d" % n, (("h", b"a tuple will do"),), partition=0) for n in range(2)]

    some = await (await publisher.send_many([good[0], *bad, good[1]])).wait()
    none = await (await publisher.send_many(bad)).wait()

    assert {place: type(error) for place, error in some.items()} == {1: TransportError, 2: TransportError}
    assert len(none) == 2
    assert [values for _, _, _, values, _ in network.batches] == [[b"0", b"1"]]
    assert (publisher._pending, publisher._bytes) == (0, 0)
    await publisher.aclose()


async def test_parcel_that_left_and_was_not_answered_is_unknown_and_one_behind_it_is_unreachable() -> None:
    network = ScriptedNetwork(*[kafka_errors.RequestTimedOutError()] * 10_000)
    publisher = await publisher_on(network)
    first = await many(publisher, b"1", b"2")
    await asyncio.sleep(0.01)
    second = await many(publisher, b"3")

    failures = [await delivery.wait() for delivery in (first, second)]

    assert [[type(error) for error in each.values()] for each in failures] == [
        [OutcomeUnknownError, OutcomeUnknownError],
        [UnreachableError],
    ]
    await publisher.aclose()


async def test_parcel_that_was_given_up_is_never_sent_unless_it_has_left() -> None:
    network = ScriptedNetwork(NOT_LEADER)
    publisher = await publisher_on(network)
    left, given_up = await many(publisher, b"1"), await many(publisher, b"3")
    network.on_ask = left.give_up
    given_up.give_up()

    failures = [await left.wait(), await given_up.wait()]

    assert [len(each) for each in failures] == [0, 1]
    assert {value for _, _, _, values, _ in network.batches for value in values} == {b"1"}
    assert (publisher._pending, publisher._bytes) == (0, 0)
    await publisher.aclose()


async def test_parcel_is_taken_back_no_more_once_its_request_was_made() -> None:
    """Between the making of a request and its first byte, a record counts as sent: it may be stored."""
    network = ScriptedNetwork()
    publisher = await publisher_on(network)
    await outcome((await send(publisher, b"0"))[0])  # the identity is there: the next dispatch makes the request

    delivery = await many(publisher, b"1")
    asyncio.get_running_loop().call_soon(delivery.give_up)

    assert await delivery.wait() == {}
    assert [values for _, _, _, values, _ in network.batches] == [[b"0"], [b"1"]]
    await publisher.aclose()
