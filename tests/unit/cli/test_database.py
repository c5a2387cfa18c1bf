from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestra.cli.database import opened, url_of
from orchestra.errors import DefinitionError, OrchestraError
from orchestra.service.ledger_upkeep import listed


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("postgresql://me:pw@db:5432/shop", "postgresql+asyncpg://me:pw@db:5432/shop"),
        ("postgres://db/shop", "postgresql+asyncpg://db/shop"),
        ("postgresql+asyncpg://db/shop", "postgresql+asyncpg://db/shop"),
    ],
)
def test_postgres_is_reached_by_the_usual_names(typed: str, url: str) -> None:
    assert url_of(typed) == url


def test_sqlite_file_is_named_by_path_or_url(tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    file.touch()

    assert url_of(str(file)) == url_of(f"sqlite:///{file}") == f"sqlite+aiosqlite:///{file}"


def test_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="there is no SQLite file"):
        url_of(str(tmp_path / "typo.db"))


def test_other_databases_are_refused() -> None:
    with pytest.raises(DefinitionError, match="mysql:// is no database that orchestra knows"):
        url_of("mysql://db/shop")


def test_database_without_the_table_and_one_that_is_away_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    file.touch()

    async def look(database: str) -> None:
        async with opened(database) as engine:
            await listed(engine)

    with pytest.raises(OrchestraError, match="there is no table orchestra_effects; is it the right database"):
        asyncio.run(look(str(file)))
    with pytest.raises(OrchestraError, match=r"me:\*\*\*@127.0.0.1:1/shop: .*Connect"):
        asyncio.run(look("postgresql://me:secret@127.0.0.1:1/shop"))
