"""A service whose handler changes a row and says so through the outbox; ``orchestra run`` runs it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from orchestra.events.message import Event, Key
from orchestra.service.context import Context
from orchestra.service.service import Service

NAME = os.environ.get("OUTBOX_TEST_NAME", "outbox-service")


class Asked(Event, type="outbox-test.asked.v1", topic=f"{NAME}.asked"):
    account: Key[str]
    n: int


class Counted(Event, type="outbox-test.counted.v1", topic=f"{NAME}.counted"):
    account: Key[str]
    total: int


service = Service(NAME)


@service.resource
async def engine() -> AsyncIterator[AsyncEngine]:
    opened = create_async_engine(os.environ["OUTBOX_TEST_DATABASE"])
    yield opened
    await opened.dispose()


@service.resource(scope="call")
async def session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    async with AsyncSession(engine) as opened:
        yield opened


outbox = service.outbox(AsyncEngine, messages=[Counted])
service.ledger(AsyncEngine)


@service.on(Asked)
async def count(event: Asked, ctx: Context, session: AsyncSession) -> None:
    async with ctx.effect(session, event) as effect:
        if effect.is_repeat:
            return
        total = await session.execute(
            text("UPDATE account SET total = total + 1 WHERE name = :name RETURNING total"), {"name": event.account}
        )
        await outbox.add(session, Counted(account=event.account, total=total.scalar_one()), cause=ctx.event)
        effect.done()
