"""Every snippet of docs/retries.md is run, as the files that it names, without Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from orchestra.bus.bus import connect
from orchestra.testing.memory import published, running_in_memory
from tests.snippets import imported
from tests.unit.service.rig import until


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    with imported("retries.md", tmp_path_factory.mktemp("retries")) as modules:
        yield modules


async def test_the_card_is_charged_and_a_busy_bank_is_asked_again_later(
    page: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    payments = page["payments"]
    async with running_in_memory(payments.payments) as log, connect(transport=log) as bus:
        charged = await bus.ask(payments.ChargeCard(order_id="1", cents=100), timeout="5s")
        monkeypatch.setenv("BANK", "busy")
        await bus.publish(payments.ChargeCard(order_id="2", cents=100))
        await until(lambda: len(log.cluster.records("payments.commands")) == 2)
        assert set(log.cluster.describe([f"payments.retry.{tier}" for tier in ("5s", "30s", "2m")])) == {
            "payments.retry.5s",
            "payments.retry.2m",
        }

    assert charged == payments.Charged(order_id="1")
    assert payments.CAREFUL.later == ("5s", "2m")


async def test_the_warehouse_is_asked(page: dict[str, Any]) -> None:
    inventory = page["inventory"]
    async with (
        running_in_memory(inventory.inventory, topics=["shop.orders", "inventory.counts"]) as log,
        connect(transport=log) as bus,
    ):
        await bus.publish(inventory.Ordered(order_id="1", item="apple"))
        await until(lambda: bool(published(log, inventory.Counted)))

        assert published(log, inventory.Counted) == [inventory.Counted(item="apple", left=7)]


def test_every_snippet_is_run(page: dict[str, ModuleType]) -> None:
    assert set(page) == {"payments", "inventory"}
