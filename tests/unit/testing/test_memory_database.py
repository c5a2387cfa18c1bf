"""A database in memory: as strict as a real one, and with the effect ledger."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from orchestra.errors import DefinitionError
from orchestra.service.entry import State
from orchestra.service.outcome import Emitted
from orchestra.testing import MemoryDatabase, MemorySession

pytestmark = pytest.mark.virtual_time

NOW = datetime(2030, 1, 1, tzinfo=UTC)
REPLY = Emitted("done", None, None, b"{}")


async def test_nothing_is_seen_before_its_commit() -> None:
    database = MemoryDatabase("bank", {"alice": 10})
    async with database.session() as session, session.begin():
        session["alice"] = 7
        session["bob"] = 3
        assert dict(session.items()) == {"alice": 7, "bob": 3}
        assert database.rows == {"alice": 10}

    assert database.rows == {"alice": 7, "bob": 3}


async def test_an_error_rolls_back() -> None:
    database = MemoryDatabase("bank", {"alice": 10})

    async def spoil() -> None:
        async with database.session() as session, session.begin():
            del session["alice"]
            assert "alice" not in session
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await spoil()

    assert database.rows == {"alice": 10}


async def test_there_is_one_transaction_at_a_time() -> None:
    database = MemoryDatabase("bank", {"alice": 0})

    async def add() -> None:
        async with database.session() as session, session.begin():
            before = session["alice"]
            await asyncio.sleep(1)
            session["alice"] = before + 1

    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(add())

    assert database.rows == {"alice": 5}


async def test_who_gives_up_waiting_keeps_nobody_waiting() -> None:
    database = MemoryDatabase("bank")

    async def hold(seconds: float) -> None:
        async with database.session() as session, session.begin():
            await asyncio.sleep(seconds)

    holding = asyncio.create_task(hold(5))
    await asyncio.sleep(1)
    waiting = asyncio.create_task(hold(1))
    await asyncio.sleep(1)
    waiting.cancel()
    async with asyncio.timeout(10):
        await hold(1)
    await holding


async def test_rows_need_a_transaction() -> None:
    async with MemoryDatabase("bank").session() as session:
        with pytest.raises(DefinitionError, match="no transaction is open"):
            session.get("alice")


async def test_a_connection_that_is_gone_takes_its_transaction_with_it() -> None:
    database = MemoryDatabase("bank", {"alice": 10})
    async with database.session() as first, database.session() as second:
        await first.start()
        first["alice"] = 0
        waiting = asyncio.create_task(second.start())
        await asyncio.sleep(0)
        first.drop()
        await waiting
        assert second["alice"] == 10


async def test_the_second_delivery_waits_for_the_first_and_finds_its_outcome() -> None:
    database = MemoryDatabase("bank")

    async def take(session: MemorySession) -> bool:
        known = await session.take("e1", State.OPEN, "h", NOW)
        if known is None:
            await asyncio.sleep(1)
            await session.store("e1", REPLY, [])
            await session.commit()
            return True
        assert known.state is State.DONE
        assert known.outcome == REPLY
        await session.rollback()
        return False

    async with database.session() as first, database.session() as second, asyncio.TaskGroup() as group:
        taken = [group.create_task(take(session)) for session in (first, second)]

    assert [task.result() for task in taken] == [True, False]
    assert database.times_done == {"e1": 1}


async def test_what_is_rolled_back_was_never_begun() -> None:
    database = MemoryDatabase("bank")
    async with database.session() as session:
        assert await session.take("e1", State.OPEN, "h", NOW) is None
        await session.rollback()
        assert await session.take("e1", State.BARRED, "h", NOW) is None
        await session.commit()
        found = await session.find("e1")

    assert found is not None
    assert found.refusal == "barred"


async def test_clear_begins_anew() -> None:
    database = MemoryDatabase("bank", {"alice": 10})
    async with database.session() as session, session.begin():
        session["alice"] = 0
        await session.take("e1", State.EXPIRED, "h", NOW)

    database.clear()

    assert database.rows == {"alice": 10}
    assert database.effects == {}
