"""Is an instance shown so that a person sees at a glance where it stands?"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from orchestra.cli import instances
from orchestra.cli.main import app
from orchestra.coordinator.instances import Details, HistoryLine, Summary
from orchestra.flows.decision import StepView

BEGUN = datetime(2026, 1, 1, 12, tzinfo=UTC)


def details(**changes: object) -> Details:
    values: dict[str, object] = {
        "summary": Summary("food-order/o-1", "food-order/1", "compensating", BEGUN, None, 3),
        "key": "o-1",
        "version": 1,
        "run": 0,
        "begun": BEGUN,
        "finished": None,
        "steps": [
            StepView(
                "reserve", "done", "compensatable", 1, BEGUN.isoformat(), (BEGUN + timedelta(seconds=2)).isoformat()
            ),
            StepView("charge", "rejected", "compensatable", 2, note="declined\n\x1b[31mforged"),
        ],
        "waits_for": ["undo of reserve: the answer to inventory.items.release.v1"],
        "parked": None,
        "waiting": 0,
        "unsent": 0,
    }
    return Details(**(values | changes))  # type: ignore[arg-type]


def shown(one: Details | None, capsys: pytest.CaptureFixture[str]) -> str:
    instances._show_details(one, "food-order/o-1")
    return capsys.readouterr().out


def test_a_live_instance_shows_status_steps_and_what_it_waits_for(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(details(), capsys)

    assert text.startswith("food-order/o-1  compensating\n")
    assert "waits for  undo of reserve: the answer to inventory.items.release.v1" in text
    assert "reserve  done      compensatable" in text
    assert "2.000 s" in text


def test_a_note_cannot_move_the_cursor_or_forge_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(details(), capsys)

    assert "\x1b[31m" not in text
    assert "declined  [31mforged" in text


def test_an_ended_instance_shows_how_long_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    assert "after 90.000 s" in shown(details(finished=BEGUN + timedelta(seconds=90), waits_for=[]), capsys)


def test_unsent_messages_and_waiting_inputs_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(details(unsent=2, waiting=3), capsys)

    assert "2 decided and not known to be sent" in text
    assert "3 kept until then" in text


def test_a_flow_version_that_is_not_here_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "does not have version 1 of the flow" in shown(details(steps=()), capsys)


def test_a_forgotten_instance_still_has_its_journal(capsys: pytest.CaptureFixture[str]) -> None:
    instances._show_details(None, "food-order/o-1")
    instances._show_history([HistoryLine(BEGUN, "flow.completed", None, None, "", "completed")])

    text = capsys.readouterr().out
    assert "is not remembered any more" in text
    assert "flow.completed" in text


def test_the_list_is_counted_by_status_and_says_when_it_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    many = [Summary(f"f/{n}", "f/1", "running" if n else "stuck", BEGUN, None, 0) for n in range(5)]

    instances._show_list(many, 2)

    text = capsys.readouterr().out
    assert "f/4       running" in text
    assert "f/2" not in text
    assert text.endswith("5 instances: 4 running, 1 stuck (the newest 2 are shown)\n")


def test_no_instances_is_said_plainly(capsys: pytest.CaptureFixture[str]) -> None:
    instances._show_list([], 50)

    assert capsys.readouterr().out == "0 instances\n"


@pytest.mark.parametrize(
    ("live", "status", "flow", "wanted"),
    [
        (False, None, None, ["f/1", "f/2", "g/3"]),
        (True, None, None, ["f/2", "g/3"]),
        (False, "stuck", None, ["g/3"]),
        (True, None, "f", ["f/2"]),
    ],
)
def test_the_list_is_filtered(live: bool, status: str | None, flow: str | None, wanted: list[str]) -> None:
    statuses = {"f/1": "compensated", "f/2": "running", "g/3": "stuck"}
    all_ = [Summary(name, None, status, BEGUN, None, 0) for name, status in statuses.items()]

    assert [one.id for one in all_ if instances._is_wanted(one, live, status, flow)] == wanted


def test_machines_get_plain_values() -> None:
    plain = json.loads(json.dumps(instances._plain_details(details()), default=instances._iso))

    assert (plain["id"], plain["status"], plain["begun"]) == ("food-order/o-1", "compensating", BEGUN.isoformat())
    assert plain["steps"][0]["name"] == "reserve"


def test_a_business_key_stands_for_the_instance_where_there_is_one_flow() -> None:
    coordinator = instances.load_coordinator("services.food_delivery.app:app")

    assert instances.instance_id_of(coordinator, "o/1") == "food-order/o%2F1"
    assert instances.instance_id_of(coordinator, "food-order/o%2F1") == "food-order/o%2F1"


def test_what_has_no_coordinator_is_refused() -> None:
    result = CliRunner().invoke(app, ["instances", "list", "services.food_delivery.app:payments"])

    assert result.exit_code == 2
    assert "is not a Coordinator, or an App with one" in result.stderr
