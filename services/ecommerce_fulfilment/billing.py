"""billing: who was billed, who got the money back, and which cards are blocked?"""

from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select
from sqlalchemy.dialects.sqlite import insert as insert_or_skip
from sqlalchemy.ext.asyncio import AsyncSession

from orchestra import Context, Retry, Service
from services.database import keep_data
from services.ecommerce_fulfilment.goods import BLOCKED_CARDS
from services.ecommerce_fulfilment.messages import (
    Billed,
    BillOrder,
    CardDeclined,
    CardUnblocked,
    Refunded,
    RefundOrder,
)

billing = Service("billing")

metadata = MetaData()
entries = Table(
    "entries",
    metadata,
    Column("entry", Integer, primary_key=True),
    Column("order_id", String, nullable=False),
    Column("cents", Integer, nullable=False),  # negative: given back
)
unblocked = Table("unblocked", metadata, Column("card", String, primary_key=True))

keep_data(billing, metadata)


@billing.handles(BillOrder, retry=Retry(attempts=5, first="200ms", cap="5s"), timeout="10s")
async def bill_order(command: BillOrder, ctx: Context, session: AsyncSession) -> Billed | CardDeclined:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if command.card in BLOCKED_CARDS and not await is_unblocked(command.card, session):
            return effect.done(CardDeclined(card=command.card))
        await session.execute(insert(entries).values(order_id=command.order_id, cents=command.total_cents))
        return effect.done(Billed(total_cents=command.total_cents))


@billing.handles(RefundOrder)
async def refund_order(command: RefundOrder, ctx: Context, session: AsyncSession) -> Refunded:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        cents = effect.action.total_cents if isinstance(effect.action, Billed) else 0
        if cents:
            await session.execute(insert(entries).values(order_id=command.order_id, cents=-cents))
        return effect.done(Refunded(total_cents=cents))


@billing.on(CardUnblocked)
async def unblock(event: CardUnblocked, session: AsyncSession) -> None:
    """Doing it twice is doing it once, so it needs no ledger."""
    async with session.begin():
        await session.execute(insert_or_skip(unblocked).values(card=event.card).on_conflict_do_nothing())


async def is_unblocked(card: str, session: AsyncSession) -> bool:
    return (await session.execute(select(unblocked).where(unblocked.c.card == card))).first() is not None
