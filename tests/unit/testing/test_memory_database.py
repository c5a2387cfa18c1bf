"""A database in memory: as strict as a real one, and with the effect ledger."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from bench.simulated import Booked, BookFlight
from orchestra.errors import DefinitionError
from orchestra.events.message import Done, Undo, spec_of
from orchestra.service.effect import Effect, Handling
from orchestra.service.entry import State
from orchestra.service.outcome import Emitted
from orchestra.service.signals import Refused
from orchestra.testing import MemoryDatabase, MemorySession

pytestmark = pytest.mark.virtual_time

NOW = datetime(2030, 1, 1, tzinfo=UTC)
TYPES = {spec_of(answer).type: answer for answer in (Booked, Done)}
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


async def test_an_effect_is_done_once_and_a_compensation_that_comes_first_bars_it() -> None:
    database = MemoryDatabase("travel", {"seats": 5})

    def handling(effect_id: str) -> Handling:
        return Handling(effect_id, "travel.book", TYPES, lambda: NOW, [])

    async def book(effect_id: str) -> Booked | None:
        command = BookFlight(trip_id="t", people=2)
        async with database.session() as session, Effect[Booked](session, command, handling(effect_id)) as effect:
            if effect.outcome is not None:
                return effect.outcome
            session["seats"] -= 2
            return effect.done(Booked(people=2))

    async def undo(effect_id: str) -> bool:
        command = Undo[BookFlight](key="t", effect_id=effect_id, command=BookFlight(trip_id="t", people=2))
        of = handling(effect_id.replace("action", "undo"))
        async with database.session() as session, Effect[Done](session, command, of) as effect:
            effect.done(Done())
            return isinstance(effect.action, Booked)

    assert [await book("f/1/1/flight/action/0") for _ in range(2)] == [Booked(people=2)] * 2
    assert await undo("f/1/1/flight/action/0")
    assert not await undo("f/2/1/flight/action/0")
    with pytest.raises(Refused):
        await book("f/2/1/flight/action/0")
    assert database.rows == {"seats": 3}
    assert database.times_done["f/1/1/flight/action/0"] == 1
