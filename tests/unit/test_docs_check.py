"""The page docs/how-to/check.md says what the command does say."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestra.cli.main import app
from orchestra.clock import SystemClock
from orchestra.flows.check.prove import check_definition
from orchestra.flows.check.samples import sample
from orchestra.flows.saga import definition_of
from tests.snippets import DOCS, imported

PAGE = "how-to/check.md"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    with imported(PAGE, tmp_path_factory.mktemp("check")) as modules:
        yield modules


def test_the_story_of_the_page_is_told(page: dict[str, Any]) -> None:
    report = check_definition(definition_of(page["ticket"].Ticket), elapsed=SystemClock().elapsed)

    assert report.violation is not None
    assert f"```text\n{report.violation.story}\n```" in (DOCS / PAGE).read_text()


def test_the_test_of_the_page_passes(page: dict[str, Any]) -> None:
    page["test_ticket"].test_a_ticket_cannot_be_solved_once_it_is_urgent()


def test_the_example_of_the_page_is_the_sample(page: dict[str, Any]) -> None:
    assert sample(page["price"].PriceSet).code == "Q7"


def test_the_command_of_the_page_says_what_the_page_says() -> None:
    said = CliRunner().invoke(app, ["check", "services.food_delivery.flow:FoodOrder"]).stdout

    assert said.partition(", in ")[0] in (DOCS / PAGE).read_text()
