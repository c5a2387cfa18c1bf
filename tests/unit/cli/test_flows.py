"""Is it said what changed between two versions, and what to do about instances of old ones?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestra.cli import flows
from orchestra.cli.main import app
from orchestra.coordinator.coordinator import Coordinator
from orchestra.coordinator.versions import VersionCount, known_of
from orchestra.flows.saga import Saga, definition_of
from tests.unit.flows.shop import FoodOrder
from tests.unit.flows.shop_versions import FoodOrderV2

SHOP, VERSIONS = "tests.unit.flows.shop", "tests.unit.flows.shop_versions"
both = Coordinator("food", flows=[FoodOrder, FoodOrderV2])


class Following(FoodOrderV2, name="food-order", version=3, migrates=(FoodOrderV2,)):
    pass


def said(*words: str) -> str:
    result = CliRunner().invoke(app, ["flows", *words])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_two_classes_are_compared_in_words() -> None:
    text = said("diff", f"{SHOP}:FoodOrder", f"{VERSIONS}:FoodOrderV2")

    assert text == (
        "food-order version 1 -> food-order version 2\n"
        "  + mail: retriable, sends shop.mail.send.v1, after assign\n"
        "\n"
        "Running instances could follow, all but those that are being undone: add migrates=(...,) with the class of "
        "version 1. Without it they end on version 1, which stays deployed.\n"
    )


def test_two_versions_of_an_app_are_compared() -> None:
    assert said("diff", "tests.unit.cli.test_flows:both", "1", "2") == said(
        "diff", "tests.unit.cli.test_flows:both", "food-order/1", "food-order/2"
    )
    assert "- mail: " in said("diff", "tests.unit.cli.test_flows:both", "2", "1")


def test_what_stands_in_the_way_is_said() -> None:
    text = said("diff", f"{SHOP}:FoodOrder", f"{VERSIONS}:Altered")

    assert "Running instances could not follow. They end on version 1, which stays deployed:\n  reserve, which" in text


def test_nothing_that_matters_has_changed() -> None:
    assert said("diff", f"{SHOP}:FoodOrder", f"{SHOP}:FoodOrder").endswith(
        "  nothing has changed that running instances rely on\n"
    )


def test_a_machine_gets_the_same_as_an_object() -> None:
    found = json.loads(said("diff", f"{SHOP}:FoodOrder", f"{VERSIONS}:Altered", "--json"))

    assert found["old"]["digest"] == definition_of(FoodOrder).digest
    assert found["could_follow"] is False
    [gone] = [change for change in found["changes"] if change["part"] == "charge"]
    assert gone == {
        "part": "charge",
        "how": "removed",
        "words": ["compensatable, sends payments.payment.charge.v1, needs reserve"],
    }


def test_the_picture_shows_what_is_new_changed_and_gone(tmp_path: Path) -> None:
    for old, new, marks in (
        (f"{SHOP}:FoodOrder", f"{VERSIONS}:FoodOrderV2", {"new"}),
        (f"{SHOP}:FoodOrder", f"{VERSIONS}:Altered", {"changed", "gone"}),
    ):
        said("diff", old, new, "--to", str(tmp_path / "picture.dot"))

        text = (tmp_path / "picture.dot").read_text()
        assert {mark for mark in ("new", "changed", "gone") if f"· {mark}<" in text or f">{mark}<" in text} == marks


@pytest.mark.parametrize(
    ("words", "mistake"),
    [
        (["diff", f"{SHOP}:FoodOrder"], "name two flows"),
        (["diff", "tests.unit.cli.test_flows:both", "1", "7"], "there is: food-order/1, food-order/2"),
        (["diff", f"{SHOP}:PLACED", f"{SHOP}:FoodOrder"], "is not a flow"),
    ],
)
def test_a_mistake_is_a_sentence(words: list[str], mistake: str) -> None:
    result = CliRunner().invoke(app, ["flows", *words])

    assert result.exit_code == 2
    assert mistake in result.stderr


# ---- the list


def shown(
    coordinator: Coordinator, counts: list[VersionCount], ran: list[type[Saga]], capsys: pytest.CaptureFixture[str]
) -> str:
    known = known_of(definition_of(flow) for flow in ran)
    flows._show(flows._rows(coordinator, counts, known), coordinator)
    return capsys.readouterr().out


def test_versions_are_listed_with_their_instances_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    newer = Coordinator("food", flows=[FoodOrderV2])
    counts = [
        VersionCount("food-order", 1, {"running": 12, "parked": 3, "completed": 40}),
        VersionCount("food-order", 2, {"running": 5}),
        VersionCount("gone", None, {"parked": 1}),
    ]

    text = shown(newer, counts, [FoodOrder, FoodOrderV2], capsys)

    assert [line.split() for line in text.splitlines()[:4]] == [
        ["flow", "version", "digest", "here", "running", "queued", "parked", "stuck", "completed"],
        ["food-order", "1", definition_of(FoodOrder).digest[:12], "no", "12", "0", "3", "0", "40"],
        ["food-order", "2", definition_of(FoodOrderV2).digest[:12], "yes", "5", "0", "0", "0", "0"],
        ["gone", "?", "no", "0", "0", "1", "0", "0"],
    ]
    assert "15 instances wait for food-order version 1, which this program does not have." in text


def test_a_version_that_nobody_is_on_any_more_can_go(capsys: pytest.CaptureFixture[str]) -> None:
    counts = [VersionCount("food-order", 1, {"completed": 40})]

    text = shown(both, counts, [FoodOrder, FoodOrderV2], capsys)

    assert "No instance is under way on food-order version 1: its class can go." in text
    assert "version 2: its class can go" not in text


def test_a_version_that_is_taken_over_counts_as_here() -> None:
    coordinator = Coordinator("food", flows=[Following])

    [old, new] = flows._rows(coordinator, [], {})

    assert (old["version"], old["deployed"], old["taken_over_by"]) == (2, True, 3)
    assert (new["version"], new["taken_over_by"]) == (3, None)


def test_nothing_ever_ran() -> None:
    assert [row["instances"] for row in flows._rows(both, [], {})] == [{}, {}]
