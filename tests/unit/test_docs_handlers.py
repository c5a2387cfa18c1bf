"""Every snippet of docs/handlers.md is run, as the files that it names, without Kafka."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from orchestra.bus.bus import connect
from orchestra.events.cloudevents import encode
from orchestra.events.envelope import compose
from orchestra.testing.memory import published, running_in_memory
from orchestra.transport.memory import MemoryTransport
from orchestra.transport.port import Outgoing
from tests.snippets import imported
from tests.unit.service.rig import EPOCH, until

TOPICS = ["inventory.stock"]
"""What ctx.publish emits is not known beforehand, so its topic is not made."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    with imported("handlers.md", tmp_path_factory.mktemp("handlers")) as modules:
        yield modules


def said(caplog: pytest.LogCaptureFixture, text: str) -> Callable[[], bool]:
    return lambda: any(text in record.getMessage() for record in caplog.records)


async def send(log: MemoryTransport, event: Any, **attributes: Any) -> None:
    """As a producer that sets what a bus does not: source, subject, extensions."""
    subject, source = attributes.pop("subject", None), attributes.pop("source", "/shop")
    envelope = compose(event, id="id-1", source=source, subject=subject, time=EPOCH, extensions=attributes)
    headers, value = encode(envelope)
    publisher = log.publisher()
    await publisher.start()
    await publisher.publish([Outgoing("shop.orders", event.order_id.encode(), value, headers)])
    await publisher.aclose()


async def test_the_command_is_answered_from_a_thread_within_its_middleware(
    page: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    messages = page["messages"]
    caplog.set_level(logging.INFO, "orchestra.handler")
    async with (
        running_in_memory(page["inventory"].inventory, topics=["inventory.commands"]) as log,
        connect(transport=log) as bus,
    ):
        apple = await bus.ask(messages.ReserveItems(order_id="1", item="apple"), timeout="5s")
        pear = await bus.ask(messages.ReserveItems(order_id="1", item="pear"), timeout="5s")

    assert apple == messages.ItemsReserved(shelf=7)
    assert pear == messages.OutOfStock(item="pear")
    assert said(caplog, "inventory.reserve took")()


async def test_events_are_followed_filtered_and_kept(page: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    messages = page["messages"]
    caplog.set_level(logging.INFO, "orchestra.handler")
    async with running_in_memory(page["watch"].watch, topics=["shop.orders", *TOPICS]) as log:
        order = messages.OrderPlaced(order_id="1", item="pear")
        await send(log, order, source="/shop/eu/1", region="eu", subject="orders/1")
        await send(log, messages.OrderCancelled(order_id="1"), source="/shop/eu/1", region="us")
        await until(said(caplog, "shop.order.cancelled.v1"))
        await until(lambda: len(published(log, messages.StockLow)) == 1)

        watched = published(log, messages.StockWatched)

    assert watched == [messages.StockWatched(order_id="1")] * 2
    for text in ("an order of the EU", "about orders/1", "shop.order.placed.v1, 30 bytes"):
        assert said(caplog, text)()


async def test_batches_are_stored_and_what_failed_is_a_dead_letter(page: dict[str, Any]) -> None:
    messages, warehouse = page["messages"], page["warehouse"]
    async with (
        running_in_memory(warehouse.warehouse, topics=["shop.orders", *TOPICS]) as log,
        connect(transport=log) as bus,
    ):
        await bus.publish(messages.OrderPlaced(order_id="1", item="pear"), messages.OrderPlaced(order_id="2", item=""))
        await until(lambda: bool(log.cluster.records("warehouse.dead-letters")))
        await until(lambda: bool(published(log, messages.StockWatched)))

    assert list(warehouse.rows.values()) == ["1"]


async def test_a_topic_without_cloudevents_is_read_and_written(page: dict[str, Any]) -> None:
    async with running_in_memory(page["legacy"].bridge, topics=["legacy.stock", "legacy.corrections"]) as log:
        publisher = log.publisher()
        await publisher.start()
        await publisher.publish(
            [Outgoing("legacy.stock", b"pear", b'{"change_id": "7", "item": "pear", "left": -1}', [])]
        )
        await publisher.aclose()
        await until(lambda: bool(log.cluster.records("legacy.corrections")))
        [record] = log.cluster.records("legacy.corrections")

    assert record.value == b'{"change_id":"7","item":"pear","left":0}'


async def test_the_tests_of_the_page_pass(page: dict[str, Any]) -> None:
    await page["test_inventory"].test_an_empty_stock_is_a_rejection()
    page["test_inventory"].test_the_handler_is_a_function()


def test_every_snippet_is_run(page: dict[str, ModuleType]) -> None:
    assert set(page) == {"messages", "inventory", "watch", "warehouse", "legacy", "test_inventory"}
