"""pager: whose telephone rings?"""

from sqlalchemy import Boolean, Column, Integer, MetaData, String, Table, insert, update
from sqlalchemy.ext.asyncio import AsyncSession

from orchestra import Context, Done, Retry, Service
from services.database import keep_data
from services.incident_management.messages import NobodyOnCall, Page, StandDown
from services.incident_management.roster import on_call

pager = Service("pager")

metadata = MetaData()
pages = Table(
    "pages",
    metadata,
    Column("page", Integer, primary_key=True),
    Column("incident_id", String, nullable=False, index=True),
    Column("level", Integer, nullable=False),
    Column("person", String, nullable=False),
    Column("rings", Boolean, nullable=False),
)

keep_data(pager, metadata)


@pager.handles(Page, retry=Retry(attempts=5, first="200ms", cap="5s"), timeout="10s")
async def page(command: Page, ctx: Context, session: AsyncSession) -> Done | NobodyOnCall:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if (person := on_call(command.system, command.level)) is None:
            return effect.done(NobodyOnCall())
        await session.execute(
            insert(pages).values(incident_id=command.incident_id, level=command.level, person=person, rings=True)
        )
        return effect.done(Done())


@pager.handles(StandDown)
async def stand_down(command: StandDown, ctx: Context, session: AsyncSession) -> Done:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        await session.execute(update(pages).where(pages.c.incident_id == command.incident_id).values(rings=False))
        return effect.done(Done())
