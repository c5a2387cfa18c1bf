"""Is each thing that is logged one line that a person, or a machine, can read?"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from io import StringIO

import pytest

from orchestra.cli.log_lines import HumanLines, JsonLines, set_up


def record(
    message: str, *args: object, level: int = logging.INFO, error: bool = False, **extra: object
) -> logging.LogRecord:
    made = logging.getLogger("payments").makeRecord(
        "payments", level, "file.py", 1, message, args, sys.exc_info() if error else None, extra=extra
    )
    made.created = 1_700_000_000.5
    return made


@pytest.fixture
def untouched_logging() -> Iterator[None]:
    root, aiokafka = logging.getLogger(), logging.getLogger("aiokafka")
    before = (root.level, list(root.handlers), aiokafka.level)
    yield
    root.handlers = before[1]
    root.setLevel(before[0])
    aiokafka.setLevel(before[2])


def test_a_line_for_people_has_time_level_logger_message_and_fields() -> None:
    line = HumanLines().format(record("charged %d cents", 5, correlation_id="o-1", attempt=None))

    assert line.endswith(".500 INFO    payments: charged 5 cents  correlation_id=o-1")


def test_a_line_for_people_cannot_be_broken_by_what_it_says() -> None:
    line = HumanLines().format(record("name is %s", "x\r\n12:00 ERROR forged\u2028\x1b[31m", note="a\nb"))

    assert len(line.splitlines()) == 1
    assert r"x\r\n12:00 ERROR forged\u2028\x1b[31m  note=a\nb" in line


def test_a_traceback_follows_its_line() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        lines = HumanLines().format(record("failed", error=True)).splitlines()

    assert lines[0].endswith("payments: failed")
    assert lines[-1] == "ValueError: no"


def test_colours_are_for_terminals_only() -> None:
    assert "\x1b[" in HumanLines(colours=True).format(record("x"))
    assert "\x1b[" not in HumanLines().format(record("x"))


def test_a_json_line_has_the_fields_that_came_in_extra() -> None:
    entry = json.loads(
        JsonLines().format(record("charged %d", 5, correlation_id="o-1", level_hint={1}, flow_step=None))
    )

    assert entry == {
        "timestamp": "2023-11-14T22:13:20.500000+00:00",
        "level": "INFO",
        "logger": "payments",
        "message": "charged 5",
        "correlation_id": "o-1",
        "level_hint": "{1}",
    }


def test_a_json_line_is_one_line_also_with_an_error() -> None:
    try:
        raise ValueError("no\nway")
    except ValueError:
        text = JsonLines().format(record("failed", error=True))

    error = json.loads(text)["error"]
    assert "\n" not in text
    assert (error["class"], error["message"]) == ("ValueError", "no\nway")
    assert error["stack"].startswith("Traceback")


@pytest.mark.usefixtures("untouched_logging")
def test_set_up_sends_everything_to_the_stream_and_keeps_aiokafka_quiet() -> None:
    stream = StringIO()

    set_up(as_json=True, level="info", stream=stream)
    logging.getLogger("payments").debug("too small")
    logging.getLogger("aiokafka.conn").info("chatter")
    logging.getLogger("payments").info("charged")

    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["charged"]


@pytest.mark.usefixtures("untouched_logging")
@pytest.mark.parametrize("as_json", [False, True])
def test_a_line_of_one_of_several_processes_says_of_which(as_json: bool) -> None:
    stream = StringIO()
    set_up(as_json=as_json, level="info", worker=2, stream=stream)

    logging.getLogger("payments").info("charged")

    line = stream.getvalue()
    assert json.loads(line)["worker"] == 2 if as_json else " [2] payments: charged" in line
