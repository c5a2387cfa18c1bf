"""Does ``orchestra run`` refuse what cannot run, with the code that says why?"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from orchestra.cli.main import app


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.handlers = handlers
    root.setLevel(level)


def run(*words: str, **environment: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["run", *words], env=environment)
    return result.exit_code, result.stderr


def test_a_target_that_is_not_there_is_code_2() -> None:
    code, text = run("services.food_delivery.app:pizza")

    assert code == 2
    assert "has no 'pizza'. There is: services.food_delivery.app:" in text


def test_a_target_that_cannot_run_is_code_2() -> None:
    code, text = run("services.food_delivery.flow:FoodOrder")

    assert code == 2
    assert "is not a Service, Coordinator or App" in text


def test_a_setting_that_cannot_work_is_code_3() -> None:
    code, text = run("services.food_delivery.app:app", ORCHESTRA_PARTITIONS="many")

    assert code == 3
    assert "ORCHESTRA_PARTITIONS" in text


def test_where_a_machine_reads_the_reason_is_a_line_of_json_too() -> None:
    code, text = run("--json", "services.food_delivery.app:pizza")

    assert code == 2
    (line,) = text.splitlines()
    entry = json.loads(line)
    assert (entry["level"], entry["code"]) == ("CRITICAL", "definition")
    assert "has no 'pizza'" in entry["message"]


def test_no_target_is_a_wrong_command_line() -> None:
    assert run()[0] == 2


def test_reload_is_refused_in_production() -> None:
    code, text = run("services.food_delivery.app:app", "--reload", ORCHESTRA_ENV="production")

    assert code == 2
    assert "--reload is for development" in text


def test_reload_and_several_workers_exclude_each_other() -> None:
    code, text = run("services.food_delivery.app:app", "--reload", "--workers", "2")

    assert code == 2
    assert "leave --workers out" in text


def test_reload_without_its_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)

    code, text = run("services.food_delivery.app:app", "--reload")

    assert code == 3
    assert "pip install 'orchestra[reload]'" in text


def test_the_help_fits_one_screen() -> None:
    result = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "100"}, terminal_width=100)

    lines = result.stdout.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100
