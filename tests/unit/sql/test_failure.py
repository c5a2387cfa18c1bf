from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from orchestra.sql.failure import is_contention, is_database_down


class PostgresError(Exception):
    """As the drivers' errors are: with a SQLSTATE."""

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.sqlstate = state


def wrapped(error: Exception, kind: type[DBAPIError] = OperationalError) -> DBAPIError:
    return kind("SELECT 1", None, error)


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError()
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize("state", ["08006", "53300", "57P01", "57P03", "25P03"])
def test_postgres_that_is_away_is_down_whether_sqlalchemy_says_it_or_the_driver(state: str) -> None:
    assert is_database_down(PostgresError(state))
    assert is_database_down(wrapped(PostgresError(state)))


@pytest.mark.parametrize("state", ["40001", "40P01", "55P03"])
def test_transactions_in_each_others_way_are_contention_and_nothing_is_down(state: str) -> None:
    error = wrapped(PostgresError(state))

    assert is_contention(error)
    assert not is_database_down(error)


@pytest.mark.parametrize("state", ["23505", "42601", "42P01", "57014"])
def test_mistakes_and_violations_are_neither(state: str) -> None:
    error = wrapped(PostgresError(state), ProgrammingError)

    assert not is_contention(error)
    assert not is_database_down(error)


@pytest.mark.parametrize(("code", "is_down"), [(5, True), (261, True), (13, True), (1, False)])
def test_sqlite_that_is_busy_or_full_is_down_and_a_wrong_statement_is_not(code: int, is_down: bool) -> None:
    assert is_database_down(wrapped(sqlite_error(code))) is is_down


def test_pool_without_a_free_connection_and_a_broken_connection_are_down() -> None:
    assert is_database_down(PoolTimeoutError())
    assert is_database_down(wrapped(Exception("closed"), InterfaceError))


def test_other_errors_say_nothing_of_a_database() -> None:
    assert not is_database_down(ValueError("no"))
    assert not is_contention(ValueError("no"))
