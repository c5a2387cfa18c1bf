"""payments: who was charged what, and what was given back?"""

from sqlalchemy import Column, Integer, MetaData, String, Table, insert
from sqlalchemy.ext.asyncio import AsyncSession

from orchestra import Context, Retry, Service
from services.database import keep_data
from services.food_delivery.catalogue import DECLINED_CARDS
from services.food_delivery.messages import CardDeclined, Charged, ChargePayment, Refunded, RefundPayment

payments = Service("payments")

metadata = MetaData()
# A book of entries that are only ever added: money is counted by summing it.
entries = Table(
    "entries",
    metadata,
    Column("entry", Integer, primary_key=True),
    Column("order_id", String, nullable=False, index=True),
    Column("kind", String, nullable=False),  # capture or refund
    Column("amount_cents", Integer, nullable=False),
)


keep_data(payments, metadata)


@payments.handles(ChargePayment, retry=Retry(attempts=5, first="200ms", cap="30s"), timeout="10s")
async def charge_payment(command: ChargePayment, ctx: Context, session: AsyncSession) -> Charged | CardDeclined:
    """Charge the card, once for each order."""
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if command.card in DECLINED_CARDS:
            return effect.done(CardDeclined(order_id=command.order_id, reason=f"{command.card} was declined"))
        await session.execute(
            insert(entries).values(order_id=command.order_id, kind="capture", amount_cents=command.amount_cents)
        )
        return effect.done(Charged(order_id=command.order_id, amount_cents=command.amount_cents))


@payments.handles(RefundPayment)
async def refund_payment(command: RefundPayment, ctx: Context, session: AsyncSession) -> Refunded:
    """Give back what was charged; nothing, when nothing was."""
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        amount = effect.action.amount_cents if isinstance(effect.action, Charged) else 0
        if amount:
            await session.execute(insert(entries).values(order_id=command.order_id, kind="refund", amount_cents=amount))
        return effect.done(Refunded(order_id=command.order_id, amount_cents=amount))
