"""analytics: how many of what, and from where?"""

from sqlalchemy import Column, Integer, MetaData, String, Table
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncSession

from orchestra import Context, Service
from services.database import keep_data
from services.user_registration.messages import OnboardingTaskCreated, UserRegistered, WelcomeMailSent

analytics = Service("analytics")

metadata = MetaData()
counts = Table(
    "counts",
    metadata,
    Column("what", String, primary_key=True),
    Column("country", String, primary_key=True),
    Column("count", Integer, nullable=False),
)

keep_data(analytics, metadata)


@analytics.on(UserRegistered, WelcomeMailSent, OnboardingTaskCreated, timeout="10s")
async def count(
    event: UserRegistered | WelcomeMailSent | OnboardingTaskCreated, ctx: Context, session: AsyncSession
) -> None:
    """Add one, once for each event, however often it comes."""
    async with ctx.effect(session, event) as effect:
        if effect.is_repeat:
            return
        country = event.country if isinstance(event, UserRegistered) else ""
        row = insert(counts).values(what=ctx.event.type, country=country, count=1)
        await session.execute(row.on_conflict_do_update(set_={"count": counts.c.count + 1}))
        effect.done()
