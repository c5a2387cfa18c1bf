"""What does a database's error say: is it down, are two transactions in each other's way, or is the statement wrong?"""

from __future__ import annotations

import sys

# SQLite's primary codes for "not now" and "the disk": busy, locked, no memory, read-only, I/O, full, cannot open and
# protocol. Its code 1 is a mistake in a statement, an OperationalError to sqlite3 too: waiting for it would never end.
_SQLITE_DOWN = frozenset({5, 6, 7, 8, 10, 13, 14, 15})
# PostgreSQL: connection, out of resources, operator intervention (shutdown, cannot connect now, idle for too long).
_POSTGRES_DOWN = ("08", "53", "57P", "25P03")
# Serialisation failure, deadlock, lock not available. Of two transactions one was told to come again.
_POSTGRES_CONTENTION = frozenset({"40001", "40P01", "55P03"})


def is_database_down(error: BaseException) -> bool:
    """Whether the database cannot be asked now, whoever asks it."""
    if (state := _state(error)) is not None:
        return state.startswith(_POSTGRES_DOWN)
    if "sqlalchemy.exc" not in sys.modules:  # then no error is one of its own
        return False
    from sqlalchemy import exc as sql

    if isinstance(error, sql.TimeoutError):  # no connection became free
        return True
    if not isinstance(error, sql.DBAPIError):
        return False
    if error.connection_invalidated or isinstance(error, sql.InterfaceError):
        return True
    if (code := getattr(error.orig, "sqlite_errorcode", None)) is not None:
        return code & 0xFF in _SQLITE_DOWN
    return isinstance(error, sql.OperationalError)


def is_contention(error: BaseException) -> bool:
    """Whether two transactions were in each other's way, and this one was rolled back to let the other through. The
    same work done again, from the start of its transaction, is expected to succeed; nothing is down."""
    return _state(error) in _POSTGRES_CONTENTION


def _state(error: BaseException) -> str | None:
    """PostgreSQL's SQLSTATE, of SQLAlchemy's error or of the driver's own (which is what connecting raises)."""
    cause = getattr(error, "orig", None) or error
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    return state if isinstance(state, str) else None
