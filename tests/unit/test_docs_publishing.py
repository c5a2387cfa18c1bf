"""Every snippet of docs/publishing.md is run, as the files that it names, without Kafka."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from orchestra.testing.memory import published, running_in_memory
from tests.snippets import imported


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    with imported("publishing.md", tmp_path_factory.mktemp("publishing")) as modules:
        yield modules


async def test_the_script_publishes(page: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    connect = page["script"].orchestra.connect
    async with running_in_memory(topics=["shop.orders"]) as log:
        monkeypatch.setattr("orchestra.connect", lambda **options: connect(transport=log, **options))

        await page["script"].main()

        assert published(log, page["messages"].OrderPlaced) == [
            page["messages"].OrderPlaced(order_id="1", item="apple")
        ]


async def test_the_bulk_example_publishes_all(page: dict[str, Any]) -> None:
    async with (
        running_in_memory(topics=["shop.orders"]) as log,
        page["web"].orchestra.connect(transport=log) as bus,
    ):
        assert await page["bulk"].publish_all(bus, 500) == 500

        assert len(published(log, page["messages"].OrderPlaced)) == 500


async def test_the_web_handlers_publish_and_ask(page: dict[str, Any]) -> None:
    await page["test_web"].test_web()


def test_every_snippet_is_run(page: dict[str, ModuleType]) -> None:
    assert set(page) == {"messages", "script", "bulk", "web", "stock", "test_web"}
    assert not set(page) & set(sys.modules)
    assert Path(str(page["web"].__file__)).name == "web.py"
