"""bureau: how creditworthy is somebody, and who has asked?"""

import asyncio

from sqlalchemy import Column, MetaData, String, Table, delete, insert
from sqlalchemy.ext.asyncio import AsyncSession

from orchestra import Context, Done, Service, Undo
from services.database import keep_data
from services.loan_processing.messages import AskScore, NoScore, Scored
from services.loan_processing.world import BUREAU_SECONDS, PEOPLE

bureau = Service("bureau")

metadata = MetaData()
inquiries = Table(
    "inquiries",
    metadata,
    Column("loan_id", String, primary_key=True),
    Column("applicant", String, nullable=False),
)

keep_data(bureau, metadata)


@bureau.handles(AskScore, timeout="10s")
async def ask_score(command: AskScore, ctx: Context, session: AsyncSession) -> Scored | NoScore:
    await asyncio.sleep(BUREAU_SECONDS)
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if (score := PEOPLE[command.applicant].score) is None:
            return effect.done(NoScore())
        await session.execute(insert(inquiries).values(loan_id=command.loan_id, applicant=command.applicant))
        return effect.done(Scored(score=score))


@bureau.handles(Undo[AskScore])
async def forget_inquiry(command: Undo[AskScore], ctx: Context, session: AsyncSession) -> Done:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if isinstance(effect.action, Scored):
            await session.execute(delete(inquiries).where(inquiries.c.loan_id == command.command.loan_id))
        return effect.done(Done())
