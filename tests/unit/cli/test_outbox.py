from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from orchestra.cli.main import app
from orchestra.outbox.outbox import Outbox
from orchestra.outbox.table import create_tables
from orchestra.service.sqlite import sqlite_engine
from tests.unit.outbox.rig import Changed, Elsewhere


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = str(tmp_path / "stock.db")
    asyncio.run(filled(path))
    return path


async def filled(path: str) -> None:
    engine = sqlite_engine(path)
    await create_tables(engine)
    async with engine.begin() as connection:
        await Outbox("/test").add(connection, *(Changed(order_id=key) for key in "abc"), Elsewhere(order_id="d"))
        await connection.execute(
            text("UPDATE orchestra_outbox SET failed_ms = 1, error = 'RecordTooLargeError: no' WHERE id IN (1, 4)")
        )
    await engine.dispose()


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["outbox", *words])


def listed(*words: str) -> dict[str, str]:
    """Key -> event id."""
    return {row["key"]: row["event_id"] for row in json.loads(run("list", *words, "--json").stdout)}


def test_list_shows_what_waits_and_counts_what_failed(database: str) -> None:
    lines = run("list", database).stdout.splitlines()

    assert lines[0].split() == ["at", "topic", "type", "key", "event", "id", "error"]
    assert lines[1].split()[2:5] == ["shop.orders", "shop.changed.v1", "b"]
    assert lines[-1].startswith("2 waiting, the oldest for ")
    assert lines[-1].endswith(" s; 2 failed")


def test_list_is_narrowed_by_state_and_topic(database: str) -> None:
    assert list(listed(database)) == ["b", "c"]
    assert list(listed(database, "--state", "failed")) == ["a", "d"]
    assert list(listed(database, "--state", "failed", "--topic", "shop.elsewhere")) == ["d"]
    assert list(listed(database, "--limit", "1")) == ["b"]
    assert "RecordTooLargeError: no" in run("list", database, "--state", "failed").stdout


def test_failed_events_are_sent_again_one_or_all(database: str) -> None:
    assert run("retry", database, listed(database, "--state", "failed")["d"]).stdout == "1 to be sent again\n"
    assert list(listed(database)) == ["b", "c", "d"]
    assert run("retry", database, "--all").stdout == "1 to be sent again\n"
    assert list(listed(database)) == ["a", "b", "c", "d"]


def test_failed_events_are_dropped_and_no_others(database: str) -> None:
    failed, waiting = listed(database, "--state", "failed")["a"], listed(database)["b"]

    assert run("drop", database, failed, waiting).stdout == "1 deleted\n"
    assert list(listed(database)) == ["b", "c"]
    nothing = run("drop", database, waiting)
    assert nothing.exit_code == 1
    assert "no failed event has such an id" in nothing.stderr


def test_retry_of_nothing_in_particular_is_refused(database: str) -> None:
    assert run("retry", database).exit_code == 2
