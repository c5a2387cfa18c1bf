"""An outbox and a ledger that a service keeps, on a real SQLite file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from orchestra.clock import SystemClock
from orchestra.errors import DefinitionError
from orchestra.events.message import Event, Key
from orchestra.outbox import table
from orchestra.service import ledger
from orchestra.service.context import Context
from orchestra.service.service import Service
from orchestra.service.sqlite import sqlite_engine
from orchestra.transport.port import TopicSpec
from tests.unit.outbox.rig import eventually
from tests.unit.service.rig import Placed, Rig, Watched


class Homeless(Event, type="shop.homeless.v1"):
    order_id: Key[str]


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    made = sqlite_engine(tmp_path / "stock.db")
    await table.create_tables(made)
    await ledger.create_tables(made)
    yield made
    await made.dispose()


@pytest.fixture
def service(engine: AsyncEngine) -> Service:
    made = Service("stock")

    @made.resource
    async def open_engine() -> AsyncIterator[AsyncEngine]:
        yield engine

    @made.resource(scope="call")
    async def session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as opened:
            yield opened

    return made


async def test_handlers_events_leave_with_their_transaction_in_the_services_own_relay(
    service: Service, engine: AsyncEngine
) -> None:
    outbox = service.outbox(AsyncEngine, messages=[Watched])

    @service.on(Placed)
    async def placed(event: Placed, ctx: Context, session: AsyncSession) -> None:
        async with ctx.effect(session, event) as effect:
            if effect.is_repeat:
                return
            await outbox.add(session, Watched(order_id=event.order_id), cause=ctx.event)
            effect.done()

    rig = Rig(clock=SystemClock())
    async with rig.running(service) as process:
        [event] = await rig.send(Placed(order_id="1"))
        await rig.put(rig.outgoing(event, Placed(order_id="1")))  # twice
        await eventually(lambda: bool(rig.events("stock.watched")))
        await process.idle()

    [watched] = rig.events("stock.watched")
    assert watched.source == "/services/stock"
    assert watched.get("causationid") == event.id
    assert process.runtime.statistics().background["outbox"].sent == 1  # type: ignore[attr-defined]


async def test_event_that_cannot_be_sent_is_on_the_services_dead_letters_too(
    service: Service, engine: AsyncEngine
) -> None:
    outbox = service.outbox(AsyncEngine)

    @service.on(Watched)
    async def watched(event: Watched) -> None: ...

    async with engine.begin() as connection:
        await outbox.add(connection, Placed(order_id="1", note="x" * 2_000_000))

    rig = Rig(clock=SystemClock())
    rig.cluster.create(TopicSpec("shop.orders"))
    async with rig.running(service):
        await eventually(lambda: bool(rig.letters()))

    [letter] = rig.letters()
    assert letter["reason"] == "UNDELIVERABLE"
    assert letter["handler"] == "outbox"
    assert letter["source-topic"] == "shop.orders"
    assert letter["payload"] == "omitted", "the row holds it"
    async with engine.connect() as connection:
        failed = await connection.execute(text("SELECT error FROM orchestra_outbox"))
        assert failed.scalar_one().startswith("RecordTooLargeError")


async def test_service_prunes_its_ledger(service: Service, engine: AsyncEngine) -> None:
    service.ledger(AsyncEngine, every="1s")

    @service.on(Placed)
    async def placed(event: Placed) -> None: ...

    async with engine.begin() as connection:
        rows = [{"effect_id": f"e{n}", "state": "done", "handler": "h", "at_ms": n // 2400 << 50} for n in range(2401)]
        await connection.execute(ledger.effects.insert(), rows)

    async def one_is_left() -> bool:
        async with engine.connect() as connection:
            return (await connection.execute(select(func.count()).select_from(ledger.effects))).scalar_one() == 1

    async with Rig(clock=SystemClock()).running(service, jitter=lambda: 0.0):
        await eventually(one_is_left)


def test_topics_of_the_outbox_are_among_the_services_own(service: Service) -> None:
    service.outbox(AsyncEngine, messages=[Watched])

    assert service.emitted_topics == {"stock.watched"}


def test_mistakes_in_the_declaration_name_the_remedy(service: Service) -> None:
    with pytest.raises(DefinitionError, match=r"Homeless has no topic; give it topic="):
        service.outbox(AsyncEngine, messages=[Homeless])
    with pytest.raises(DefinitionError, match="entries are kept for 30 days at least"):
        service.ledger(AsyncEngine, keep="29d")
    service.outbox(AsyncEngine)
    with pytest.raises(DefinitionError, match="has its outbox already: declare it once"):
        service.outbox(AsyncEngine)


def test_outbox_on_a_resource_of_a_call_is_refused(service: Service) -> None:
    service.outbox(AsyncSession)

    @service.on(Placed)
    async def placed(event: Placed) -> None: ...

    with pytest.raises(DefinitionError, match="outbox-stock takes AsyncSession: let a process resource yield it"):
        service.check()
