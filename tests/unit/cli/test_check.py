"""Does ``orchestra check`` say what it found, to people and to machines?"""

from __future__ import annotations

import json

from typer.testing import CliRunner

from orchestra.cli.main import app

FLOW = "services.food_delivery.flow:FoodOrder"
KINDS = "tests.unit.flows.kinds"


def test_a_flow_that_is_proved_exits_with_0_and_says_how_much_was_explored() -> None:
    result = CliRunner().invoke(app, ["check", FLOW])

    assert result.exit_code == 0
    assert result.stdout.startswith("✓ FoodOrder, food-order version 1: proved (61 states, ")


def test_a_search_that_gives_up_proves_nothing_and_exits_with_6() -> None:
    result = CliRunner().invoke(app, ["check", FLOW, "--limit", "20"])

    assert result.exit_code == 6
    assert "explored 21 states" in result.stdout
    assert "not all: no violation so far" in result.stdout


def test_a_mistake_exits_with_1_and_is_named() -> None:
    result = CliRunner().invoke(app, ["check", "tests.unit.flows.impure:Dices"])

    assert result.exit_code == 1
    assert "Dices.first: not deterministic: it calls uuid.uuid4" in result.stdout


def test_machines_get_json() -> None:
    result = CliRunner().invoke(app, ["check", f"{KINDS}:Child", f"{KINDS}:Parent", "--json"])

    first, second = json.loads(result.stdout)
    assert (first["flow"], first["verdict"], first["violation"]) == ("kinds-child", "proved", None)
    assert first["states"] > 31, "it is called, so that it may be undone though it is completed"
    assert [one["code"] for one in second["findings"]] == ["wait without timeout"]


def test_an_app_is_asked_whether_its_handlers_have_time_for_their_retries() -> None:
    result = CliRunner().invoke(app, ["check", "services.food_delivery.app:app"])

    assert result.exit_code == 0
    assert "FoodOrder.reserve: timeout below retries: it waits 30 s for inventory.reserve_items" in result.stdout


def test_a_package_is_gone_through_for_flows() -> None:
    result = CliRunner().invoke(app, ["check", "services.food_delivery", "tests.unit.flows.trip", "--limit", "5"])

    assert [line.split()[1] for line in result.stdout.splitlines() if line[0] in "✓✗?"] == [
        "FoodOrder,",
        "Trip,",
        "Ingest,",
    ]


def test_what_holds_no_flow_is_a_mistake_of_the_command_line() -> None:
    result = CliRunner().invoke(app, ["check", "orchestra.ids"])

    assert result.exit_code == 2
    assert "orchestra.ids: it holds no flow" in result.stderr
