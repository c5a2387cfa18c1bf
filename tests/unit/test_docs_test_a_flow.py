"""The tests of docs/how-to/test.md are run, and its story is the one that is told."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from orchestra.testing.story import run
from tests.snippets import DOCS, imported

PAGE = "how-to/test.md"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    with imported(PAGE, tmp_path_factory.mktemp("test-a-flow")) as modules:
        yield modules


def test_the_tests_of_the_page_pass(page: dict[str, Any]) -> None:
    tests = inspect.getmembers(page["test_flow"], inspect.isfunction)
    ran = [test() for name, test in tests if name.startswith("test_")]

    assert len(ran) == 4


def test_the_story_of_the_page_is_told(page: dict[str, Any]) -> None:
    flow = page["flow"]
    t = run(flow.FoodOrder, flow.OrderPlaced(order_id="o-1", cents=2500))
    t.expect(flow.ReserveItems).times_out()

    assert f"```text\n{t.story()}\n```" in (DOCS / PAGE).read_text()
