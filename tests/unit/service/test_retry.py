from __future__ import annotations

import sqlite3
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import exc as sql

from orchestra.errors import (
    AccessDeniedError,
    DecodeError,
    DefinitionError,
    EncodeError,
    OutcomeUnknownError,
    PermanentError,
    RetryAfter,
    TopicError,
    TransientError,
    UnreachableError,
)
from orchestra.retry import Retry
from orchestra.service.retry import Course, Reason, TimedOutError, contention_delay, course_of, earliest, waiting_delay


def sqlite_error(code: int) -> sql.OperationalError:
    cause: Any = sqlite3.OperationalError("from sqlite")
    cause.sqlite_errorcode = code
    return sql.OperationalError("SELECT", {}, cause)


class FakePostgresError(Exception):
    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


def postgres_error(state: str, kind: type[sql.DBAPIError] = sql.DBAPIError) -> sql.DBAPIError:
    return kind("SELECT", {}, FakePostgresError(state))


def disconnected() -> sql.DBAPIError:
    return sql.DBAPIError("SELECT", {}, Exception("gone"), connection_invalidated=True)


@pytest.mark.parametrize(
    ("error", "course", "reason"),
    [
        (DecodeError("data", "no"), Course.DEAD_LETTER, Reason.DECODE),
        (DefinitionError("wrong return"), Course.DEAD_LETTER, Reason.CONTRACT),
        (EncodeError("no JSON form"), Course.DEAD_LETTER, Reason.CONTRACT),
        (PermanentError("never"), Course.DEAD_LETTER, Reason.PERMANENT),
        (TransientError("later"), Course.TRY_AGAIN, Reason.TRANSIENT),
        (TimedOutError("10 s"), Course.TRY_AGAIN, Reason.TIMEOUT),
        (ZeroDivisionError("a bug"), Course.TRY_AGAIN, Reason.TRANSIENT),
        (TimeoutError("the handler's own"), Course.TRY_AGAIN, Reason.TRANSIENT),
        (ConnectionRefusedError("dependency"), Course.WAIT, Reason.TRANSIENT),
        (UnreachableError("brokers"), Course.WAIT, Reason.TRANSIENT),
        (OutcomeUnknownError("brokers"), Course.WAIT, Reason.TRANSIENT),
        (TopicError("missing"), Course.TRY_AGAIN, Reason.TRANSIENT),
        (AccessDeniedError("no"), Course.TRY_AGAIN, Reason.TRANSIENT),
    ],
)
def test_each_kind_of_error_has_its_course(error: Exception, course: Course, reason: Reason) -> None:
    assert course_of(error) == (course, reason)


@pytest.mark.parametrize(
    "error",
    [
        sqlite_error(5),  # busy
        sqlite_error(6),  # locked
        sqlite_error(261),  # busy, recovering: an extended code
        sqlite_error(13),  # disk full
        sqlite_error(10),  # I/O
        sql.TimeoutError("no connection became free"),
        sql.InterfaceError("SELECT", {}, Exception("not connected")),
        sql.OperationalError("SELECT", {}, Exception("no code at all")),
        disconnected(),
        postgres_error("08006"),
        postgres_error("53300"),
        postgres_error("57P03", sql.OperationalError),
    ],
)
def test_database_that_is_down_is_waited_for(error: Exception) -> None:
    assert course_of(error)[0] is Course.WAIT


@pytest.mark.parametrize("state", ["40001", "40P01", "55P03"])
def test_transaction_that_was_in_anothers_way_is_done_again_and_burns_no_attempt(state: str) -> None:
    assert course_of(postgres_error(state, sql.OperationalError))[0] is Course.AGAIN


def test_transaction_that_was_in_anothers_way_waits_a_moment_that_grows_to_a_second() -> None:
    assert contention_delay(1, 0.5) == pytest.approx(0.005)
    assert contention_delay(4, 1.0) == pytest.approx(0.08)
    assert contention_delay(1_000, 1.0) == 1.0


@pytest.mark.parametrize(
    "error",
    [
        sqlite_error(1),  # no such table: waiting would never end
        sql.IntegrityError("INSERT", {}, Exception("unique")),
        sql.ProgrammingError("SELEC", {}, Exception("syntax")),
        postgres_error("42P01", sql.ProgrammingError),  # no such table
    ],
)
def test_mistakes_and_violations_in_a_database_are_tried_again_and_then_dead_lettered(error: Exception) -> None:
    assert course_of(error) == (Course.TRY_AGAIN, Reason.TRANSIENT)


def test_what_the_policy_says_of_an_error_comes_before_the_built_in_rules() -> None:
    policy = Retry(
        errors={ConnectionError: "permanent", ZeroDivisionError: "infrastructure", DefinitionError: "transient"}
    )

    assert course_of(ConnectionResetError(), policy) == (Course.DEAD_LETTER, Reason.PERMANENT)
    assert course_of(ZeroDivisionError(), policy) == (Course.WAIT, Reason.TRANSIENT)
    assert course_of(DefinitionError("wrong return"), policy) == (Course.TRY_AGAIN, Reason.TRANSIENT)
    assert course_of(DecodeError("data", "bad"), policy) == (Course.DEAD_LETTER, Reason.DECODE)


@pytest.mark.parametrize("delay", [90, 90.0, "90s", "1m30s", timedelta(seconds=90)])
def test_retry_after_takes_seconds_or_a_duration(delay: float | str | timedelta) -> None:
    assert earliest(RetryAfter(delay)) == 90.0
    assert course_of(RetryAfter(delay)) == (Course.TRY_AGAIN, Reason.TRANSIENT)
    assert "90" in str(RetryAfter(delay)) or "1" in str(RetryAfter(delay))


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), "soon"])
def test_retry_after_refuses_what_is_no_length_of_time(delay: float | str) -> None:
    with pytest.raises(DefinitionError, match="duration"):
        earliest(RetryAfter(delay))


def test_waiting_grows_to_five_seconds_and_is_spread() -> None:
    assert waiting_delay(1, 0.0) == pytest.approx(0.05)
    assert waiting_delay(1, 1.0) == pytest.approx(0.1)
    assert waiting_delay(4, 1.0) == pytest.approx(0.8)
    assert waiting_delay(1_000_000, 1.0) == 5.0
