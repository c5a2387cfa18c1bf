"""bank: to whom has money been sent?"""

from sqlalchemy import Column, Integer, MetaData, String, Table, insert
from sqlalchemy.ext.asyncio import AsyncSession

from orchestra import Context, Retry, Service
from services.database import keep_data
from services.loan_processing.messages import AccountClosed, MoneySent, PayOut
from services.loan_processing.world import PEOPLE

bank = Service("bank")

metadata = MetaData()
payouts = Table(
    "payouts",
    metadata,
    Column("payout", Integer, primary_key=True),
    Column("loan_id", String, nullable=False),
    Column("amount_eur", Integer, nullable=False),
)

keep_data(bank, metadata)


@bank.handles(PayOut, retry=Retry(attempts=5, first="200ms", cap="5s"), timeout="10s")
async def pay_out(command: PayOut, ctx: Context, session: AsyncSession) -> MoneySent | AccountClosed:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if not PEOPLE[command.applicant].account_is_open:
            return effect.done(AccountClosed())
        await session.execute(insert(payouts).values(loan_id=command.loan_id, amount_eur=command.amount_eur))
        return effect.done(MoneySent(amount_eur=command.amount_eur))
