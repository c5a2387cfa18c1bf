"""cards: which cards are authorized, and for how much?"""

import asyncio

from sqlalchemy import Column, Integer, MetaData, String, Table, delete, insert
from sqlalchemy.ext.asyncio import AsyncSession

from orchestra import Context, Done, Service, Undo
from services.database import keep_data
from services.order_validation.messages import AuthorizeCard, CardAuthorized, CardRefused
from services.order_validation.rules import BANK_SECONDS, BLOCKED_CARDS

cards = Service("cards")

metadata = MetaData()
authorizations = Table(
    "authorizations",
    metadata,
    Column("order_id", String, primary_key=True),
    Column("amount_cents", Integer, nullable=False),
)

keep_data(cards, metadata)


@cards.handles(AuthorizeCard, timeout="10s")
async def authorize_card(command: AuthorizeCard, ctx: Context, session: AsyncSession) -> CardAuthorized | CardRefused:
    # A real bank is asked before the transaction, with ctx.effect_id as the idempotency key.
    await asyncio.sleep(BANK_SECONDS)
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if command.card in BLOCKED_CARDS:
            return effect.done(CardRefused(reason=f"{command.card} is blocked"))
        await session.execute(
            insert(authorizations).values(order_id=command.order_id, amount_cents=command.amount_cents)
        )
        return effect.done(CardAuthorized(authorization=ctx.effect_id))


@cards.handles(Undo[AuthorizeCard])
async def void_authorization(command: Undo[AuthorizeCard], ctx: Context, session: AsyncSession) -> Done:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        await session.execute(delete(authorizations).where(authorizations.c.order_id == command.command.order_id))
        return effect.done(Done())
