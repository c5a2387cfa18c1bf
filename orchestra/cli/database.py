"""How does a command that looks into a team's database reach it?"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestra.errors import DefinitionError, OrchestraError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

Database = Annotated[
    str,
    typer.Argument(
        metavar="DATABASE",
        envvar="ORCHESTRA_DATABASE_URL",
        help="postgresql://user:password@host/name, or the path of a SQLite file.",
    ),
]


@asynccontextmanager
async def opened(database: str) -> AsyncGenerator[AsyncEngine]:
    """An engine on the database, closed at the end.

    Raises:
        DefinitionError: that is no database that we know, or the file is not there.
        OrchestraError: it cannot be reached, or lacks the table that is asked for.
    """
    try:
        from sqlalchemy.exc import SQLAlchemyError
        from sqlalchemy.ext.asyncio import create_async_engine
    except ImportError as missing:
        raise DefinitionError("this command needs a database driver: pip install 'orchestra[postgres]'") from missing
    try:
        engine = create_async_engine(url_of(database), connect_args={"timeout": 10})
    except ImportError as missing:
        raise DefinitionError(f"{missing}: pip install 'orchestra[postgres]'") from missing
    try:
        yield engine
    except (SQLAlchemyError, OSError) as error:
        raise OrchestraError(f"{engine.url.render_as_string()}: {_sentence(error)}") from error
    finally:
        await engine.dispose()


def url_of(database: str) -> str:
    """The URL that SQLAlchemy takes, for what an operator types.

    Raises:
        DefinitionError: that is no database that we know, or the file is not there.
    """
    scheme, _, rest = database.partition("://")
    if scheme in ("postgres", "postgresql", "postgresql+asyncpg"):
        return f"postgresql+asyncpg://{rest}"
    path = database
    if scheme in ("sqlite", "sqlite+aiosqlite"):
        path = rest.removeprefix("/")
    elif "://" in database:
        raise DefinitionError(f"{scheme}:// is no database that orchestra knows: it may be PostgreSQL or SQLite")
    if not Path(path).is_file():
        raise DefinitionError(f"there is no SQLite file {path!r}")
    return f"sqlite+aiosqlite:///{path}"


def moment_ago(age: str | None) -> datetime | None:
    """The moment that many hours or days ago. Raises DefinitionError for what is no duration."""
    from datetime import timedelta

    from orchestra.clock import SystemClock
    from orchestra.duration import seconds

    return None if age is None else SystemClock().now() - timedelta(seconds=seconds(age))


def moment_text(moment: datetime) -> str:
    """A moment as lists show it, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _sentence(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    text = str(cause).partition("\n")[0].removeprefix(f"{type(cause)}: ")
    for table in ("orchestra_effects", "orchestra_outbox"):
        if table in text and ("no such table" in text or "does not exist" in text):
            return f"there is no table {table}; is it the right database?"
    return f"{type(cause).__name__}: {text}"
