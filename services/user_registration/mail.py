"""mail: who has been welcomed?"""

from sqlalchemy import Column, Integer, MetaData, String, Table, insert
from sqlalchemy.ext.asyncio import AsyncSession

from orchestra import Context, Service
from services.database import keep_data
from services.user_registration.messages import UserRegistered, WelcomeMailSent

mail = Service("mail")

metadata = MetaData()
letters = Table(
    "letters",
    metadata,
    Column("letter", Integer, primary_key=True),
    Column("user_id", String, nullable=False),
    Column("email", String, nullable=False),
    Column("subject", String, nullable=False),
)

keep_data(mail, metadata)


@mail.on(UserRegistered, timeout="10s")
async def welcome(event: UserRegistered, ctx: Context, session: AsyncSession) -> WelcomeMailSent | None:
    async with ctx.effect(session, event) as effect:
        if effect.is_repeat:  # what was published then is published again, by itself
            return None
        subject = f"Welcome, {event.name}"
        await session.execute(insert(letters).values(user_id=event.user_id, email=event.email, subject=subject))
        return effect.done(WelcomeMailSent(user_id=event.user_id, email=event.email))
