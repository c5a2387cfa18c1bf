"""onboarding: who calls the new user?"""

from zlib import crc32

from sqlalchemy import Column, Integer, MetaData, String, Table, insert
from sqlalchemy.ext.asyncio import AsyncSession

from orchestra import Context, Service
from services.database import keep_data
from services.user_registration.messages import OnboardingTaskCreated, UserRegistered

onboarding = Service("onboarding")

TEAM = ("ada", "brook", "cem", "dana")

metadata = MetaData()
tasks = Table(
    "tasks",
    metadata,
    Column("task", Integer, primary_key=True),
    Column("user_id", String, nullable=False),
    Column("assignee", String, nullable=False),
)

keep_data(onboarding, metadata)


@onboarding.on(UserRegistered, timeout="10s")
async def create_task(event: UserRegistered, ctx: Context, session: AsyncSession) -> OnboardingTaskCreated | None:
    async with ctx.effect(session, event) as effect:
        if effect.is_repeat:
            return None
        assignee = TEAM[crc32(event.user_id.encode()) % len(TEAM)]
        await session.execute(insert(tasks).values(user_id=event.user_id, assignee=assignee))
        return effect.done(OnboardingTaskCreated(user_id=event.user_id, assignee=assignee))
