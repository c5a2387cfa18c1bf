from __future__ import annotations

import sqlite3
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
    TopicError,
    TransientError,
    UnreachableError,
)
from orchestra.service.retry import Course, Reason, TimedOutError, course_of, waiting_delay


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


@pytest.mark.parametrize(
    "error",
    [
        sqlite_error(1),  # no such table: waiting would never end
        sql.IntegrityError("INSERT", {}, Exception("unique")),
        sql.ProgrammingError("SELEC", {}, Exception("syntax")),
        postgres_error("40001", sql.OperationalError),  # serialisation failure: try again
        postgres_error("40P01", sql.OperationalError),  # deadlock
        postgres_error("42P01", sql.ProgrammingError),  # no such table
    ],
)
def test_mistakes_and_conflicts_in_a_database_are_tried_again_and_then_dead_lettered(error: Exception) -> None:
    assert course_of(error) == (Course.TRY_AGAIN, Reason.TRANSIENT)


def test_waiting_grows_to_five_seconds_and_is_spread() -> None:
    assert waiting_delay(1, 0.0) == pytest.approx(0.05)
    assert waiting_delay(1, 1.0) == pytest.approx(0.1)
    assert waiting_delay(4, 1.0) == pytest.approx(0.8)
    assert waiting_delay(1_000_000, 1.0) == 5.0
