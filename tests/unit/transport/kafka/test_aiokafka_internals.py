"""What the Kafka transport uses of aiokafka beyond its documented classes is still there.

aiokafka promises none of this. When one of these fails after an upgrade, look at the file that it names.
"""

from __future__ import annotations

import inspect
from typing import Any

import aiokafka
import pytest
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record import default_records
from aiokafka.record.default_records import DefaultRecordBatchBuilder


def test_version_is_the_one_that_was_read() -> None:
    assert aiokafka.__version__.startswith("0.14.")


@pytest.mark.parametrize(
    "name",
    ["bootstrap", "close", "send", "get_random_node", "coordinator_lookup"],
)
def test_network_finds_what_it_calls_on_the_client(name: str) -> None:
    assert callable(getattr(AIOKafkaClient, name))


def test_network_finds_the_two_kinds_of_coordinators() -> None:
    assert (int(CoordinationType.GROUP), int(CoordinationType.TRANSACTION)) == (0, 1)


@pytest.mark.parametrize(
    ("request_class", "key", "arguments"),
    [
        (MetadataRequest, 3, (["t"],)),
        (ProduceRequest, 0, (None, -1, 1000, [("t", [(0, b"")])])),
        (FetchRequest, 1, (500, 1, 1 << 20, 0, [("t", [(0, 0, 1 << 20)])], "")),
        (OffsetRequest, 2, (-1, 0, [("t", [(0, -1)])])),
        (OffsetFetchRequest, 9, ("g", [("t", [0])])),
        (InitProducerIdRequest, 22, ("x", 60_000)),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_requests_are_built_as_we_build_them(request_class: Any, key: int, arguments: tuple[Any, ...]) -> None:
    request = request_class(*arguments).prepare({key: (0, 20)})

    assert key == request.API_KEY
    assert request.encode()


def test_identity_of_no_transactional_id_is_asked_for_with_a_null() -> None:
    request: Any = InitProducerIdRequest
    assert request(None, 60_000).prepare({22: (0, 5)}).encode() == b"\xff\xff" + (60_000).to_bytes(4, "big")


def test_batch_builder_takes_the_pair_and_the_sequence() -> None:
    builder: Any = DefaultRecordBatchBuilder(2, 0, 0, 17, 3, 5, 1000)

    assert (builder.producer_id, builder.producer_epoch, builder.base_sequence) == (17, 3, 5)
    assert builder.append(0, None, b"k", b"v", []) is not None


async def test_consumer_has_the_parts_that_are_closed_one_by_one_when_its_stop_fails() -> None:
    consumer: Any = aiokafka.AIOKafkaConsumer()
    consumer._closed = True  # it was never started

    assert hasattr(consumer, "_fetcher")
    assert inspect.iscoroutinefunction(consumer._client.close)


async def test_place_of_a_partition_is_told_without_waiting_where_it_is_known() -> None:
    assert inspect.iscoroutinefunction(aiokafka.AIOKafkaConsumer.position)


def test_heartbeats_begin_after_the_callback_of_an_assignment() -> None:
    """The reason why ``on_assigned`` runs in a task of its own (``transport/kafka/consumer.py``)."""
    source = inspect.getsource(GroupCoordinator.ensure_active_group)

    assert source.index("_do_rejoin_group") < source.index("_start_heartbeat_task")


def test_fetched_finds_what_it_takes_out_of_the_fetcher() -> None:
    """``transport/kafka/fetched.py``; what it relies on in detail is tried in its own tests."""
    waits = inspect.getsource(Fetcher._fetch_requests_routine) + inspect.getsource(Fetcher._create_fetch_waiter)
    takes = inspect.getsource(Fetcher.fetched_records)

    assert "self._fetch_waiters" in waits
    for line in ("self._subscriptions.reassignment_in_progress", "del self._records[tp]", "res_or_error.check_raise()"):
        assert line in takes
    assert "self._notify(self._wait_consume_future)" in takes
    assert "consumed_to(self._partition_records.next_fetch_offset)" in inspect.getsource(FetchResult._update_position)
    for name in ("_consume_aborted_up_to", "_contains_abort_marker"):
        assert callable(getattr(PartitionRecords, name))


def test_fetcher_asks_for_nothing_of_a_partition_whose_records_were_left_to_it() -> None:
    source = inspect.getsource(Fetcher._get_actions_per_node)

    assert source.index("if tp in self._records:") < source.index("elif tp_state.paused:")


def test_consumer_tells_the_coordinator_that_it_lives_and_raises_its_errors() -> None:
    source = inspect.getsource(aiokafka.AIOKafkaConsumer.getmany)

    assert "self._coordinator.check_errors()" in source
    assert "with self._subscription.fetch_context():" in source
    assert "self._fetch_count" in inspect.getsource(SubscriptionState.fetcher_idle_time.fget)


def test_odd_names_finds_the_batch_that_is_read_in_python() -> None:
    """``transport/kafka/odd_names.py`` changes its buffer between taking it out of its compression and reading it."""
    source = inspect.getsource(default_records._DefaultRecordBatchPy)

    assert "def _maybe_uncompress(self)" in source
    for name in ("self._buffer", "self._pos", "self._num_records"):
        assert name in source
