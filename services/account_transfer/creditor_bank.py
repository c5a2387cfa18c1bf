"""creditor-bank: is there such an account, and has the money come?"""

from sqlalchemy.ext.asyncio import AsyncSession

from orchestra import Context, Retry, Service
from services.account_transfer.book import CLEARING, balance, metadata, opened_with, post
from services.account_transfer.customers import CLOSED, CREDITORS
from services.account_transfer.messages import CreditAccount, Credited, CreditRefused
from services.database import keep_data

creditor_bank = Service("creditor-bank")
keep_data(creditor_bank, metadata, opened_with(CREDITORS, CLOSED))


@creditor_bank.handles(CreditAccount, retry=Retry(attempts=5, first="200ms", cap="5s"), timeout="10s")
async def credit_account(command: CreditAccount, ctx: Context, session: AsyncSession) -> Credited | CreditRefused:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if await balance(session, command.account) is None:
            return effect.done(CreditRefused(reason=f"{command.account} is closed, or never was"))
        await post(session, "credit", command.transfer_id, CLEARING, command.account, command.amount_cents)
        return effect.done(Credited(amount_cents=command.amount_cents))
