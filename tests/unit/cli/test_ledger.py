from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from typer.testing import CliRunner, Result

from orchestra.cli.main import app
from orchestra.clock import SystemClock
from orchestra.service.entry import State
from orchestra.service.ledger import SqlLedger, create_tables
from orchestra.service.outcome import Emitted
from orchestra.service.sqlite import sqlite_engine

REPLY = Emitted("stock.reserved.v1", None, b"1", b'{"order_id":"1"}')
EVENT = Emitted("stock.watched.v1", "stock.watched", None, b"{}")


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = str(tmp_path / "stock.db")
    asyncio.run(filled(path))
    return path


async def filled(path: str) -> None:
    engine = sqlite_engine(path)
    await create_tables(engine)
    now = SystemClock().now()
    async with AsyncSession(engine) as session, session.begin():
        ledger = SqlLedger(session)
        await ledger.take("food/1/1/reserve/action/0", State.OPEN, "stock.reserve", now)
        await ledger.store("food/1/1/reserve/action/0", REPLY, [EVENT])
        await ledger.take("food/2/1/reserve/action/0", State.BARRED, "stock.release", now - timedelta(days=2))
        await ledger.take("food/3/1/reserve/action/0", State.EXPIRED, "stock.reserve", now - timedelta(days=31))
    await engine.dispose()


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["ledger", *words])


def ids(*words: str) -> list[str]:
    return [row["effect_id"].split("/")[1] for row in json.loads(run("list", *words, "--json").stdout)]


def test_list_shows_the_newest_entries_in_columns(database: str) -> None:
    lines = run("list", database).stdout.splitlines()

    assert lines[0].split() == ["at", "state", "handler", "outcome", "messages", "effect", "id"]
    assert lines[1].split()[2:] == ["done", "stock.reserve", "stock.reserved.v1", "1", "food/1/1/reserve/action/0"]
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), ["1", "2", "3"]),
        (("--state", "done"), ["1"]),
        (("--state", "barred", "--state", "expired"), ["2", "3"]),
        (("--handler", "stock.reserve"), ["1", "3"]),
        (("--older-than", "1d"), ["2", "3"]),
        (("--newer-than", "3d"), ["1", "2"]),
        (("--older-than", "1d", "--newer-than", "3d"), ["2"]),
        (("--limit", "1"), ["1"]),
    ],
)
def test_list_is_narrowed_by_state_handler_and_age(database: str, words: tuple[str, ...], expected: list[str]) -> None:
    assert ids(database, *words) == expected


def test_list_says_that_there_is_more(database: str) -> None:
    assert "and older ones: --limit shows more than 2" in run("list", database, "--limit", "2").stdout
    assert "older ones" not in run("list", database, "--limit", "3").stdout
    assert run("list", database, "--handler", "nobody").stdout == "no such entries\n"


def test_show_gives_outcome_and_messages(database: str) -> None:
    shown = json.loads(run("show", database, "food/1/1/reserve/action/0").stdout)

    assert datetime.fromisoformat(shown.pop("at")).tzinfo == UTC
    assert shown == {
        "effect_id": "food/1/1/reserve/action/0",
        "state": "done",
        "handler": "stock.reserve",
        "outcome": {"type": "stock.reserved.v1", "topic": None, "key": "1", "data": {"order_id": "1"}},
        "messages": [{"type": "stock.watched.v1", "topic": "stock.watched", "key": None, "data": {}}],
    }


def test_show_of_an_unknown_effect_is_an_error(database: str) -> None:
    shown = run("show", database, "food/9")

    assert (shown.exit_code, shown.stderr) == (1, "orchestra: the ledger has no effect 'food/9'\n")


def test_prune_deletes_old_entries_and_refuses_less_than_thirty_days(database: str) -> None:
    refused = run("prune", database, "--older-than", "29d")
    assert refused.exit_code == 2
    assert "30 days at least" in refused.stderr

    assert run("prune", database).stdout == "1 entries deleted\n"
    assert ids(database) == ["1", "2"]
