"""Every snippet of docs/ledger-and-outbox.md is run, as the files that it names, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

import orchestra
from orchestra.testing.memory import published, running_in_memory
from tests.snippets import imported
from tests.unit.outbox.rig import eventually


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    with imported("ledger-and-outbox.md", tmp_path_factory.mktemp("ledger")) as modules:
        yield modules


async def test_the_service_and_the_web_application_work_together(
    page: dict[str, Any], postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = page["messages"]
    monkeypatch.setenv("STOCK_DATABASE", postgres)
    engine = create_async_engine(postgres)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE stock AS SELECT 'apple' AS sku, 1 AS units"))

    async with running_in_memory(page["stock"].stock) as log, orchestra.connect(transport=log) as bus:
        command = messages.ReserveItems(order_id="1", sku="apple")
        assert await bus.ask(command, timeout="20s") == messages.ItemsReserved(order_id="1")
        assert await bus.ask(command, timeout="20s") == messages.OutOfStock(order_id="1")
        await page["web"].deliver(engine, "apple", 5)
        await eventually(lambda: len(published(log, messages.StockChanged)) == 2)

        assert [each.left for each in published(log, messages.StockChanged)] == [0, 5]
    await engine.dispose()


async def test_the_test_of_the_page_passes(page: dict[str, Any], postgres: str) -> None:
    await page["test_web"].test_a_delivery_is_told(postgres)


def test_every_snippet_is_run(page: dict[str, ModuleType]) -> None:
    assert set(page) == {"messages", "stock", "web", "test_web"}
