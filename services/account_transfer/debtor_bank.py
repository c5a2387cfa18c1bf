"""debtor-bank: is there enough on the account, and has it left it?"""

from sqlalchemy.ext.asyncio import AsyncSession

from orchestra import Context, Retry, Service
from services.account_transfer.book import CLEARING, balance, metadata, opened_with, post
from services.account_transfer.customers import DEBTORS
from services.account_transfer.messages import DebitAccount, Debited, DebitRefused, DebitReturned, ReturnDebit
from services.database import keep_data

debtor_bank = Service("debtor-bank")
keep_data(debtor_bank, metadata, opened_with(DEBTORS))


@debtor_bank.handles(DebitAccount, retry=Retry(attempts=5, first="200ms", cap="5s"), timeout="10s")
async def debit_account(command: DebitAccount, ctx: Context, session: AsyncSession) -> Debited | DebitRefused:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        available = await balance(session, command.account)
        if available is None or available < command.amount_cents:
            why = "there is no such account" if available is None else "there is not enough on the account"
            return effect.done(DebitRefused(reason=why))
        await post(session, "debit", command.transfer_id, command.account, CLEARING, command.amount_cents)
        return effect.done(Debited(amount_cents=command.amount_cents))


@debtor_bank.handles(ReturnDebit)
async def return_debit(command: ReturnDebit, ctx: Context, session: AsyncSession) -> DebitReturned:
    """Give back what was debited; nothing, when nothing was, and then nothing ever will be."""
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        amount = effect.action.amount_cents if isinstance(effect.action, Debited) else 0
        if amount:
            await post(session, "return", command.transfer_id, CLEARING, command.account, amount)
        return effect.done(DebitReturned(amount_cents=amount))
