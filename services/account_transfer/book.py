"""How does a bank keep its book? A movement is two postings that add up to nothing, and no posting is ever changed."""

from sqlalchemy import Boolean, Column, Integer, MetaData, String, Table, func, insert, select
from sqlalchemy.dialects.sqlite import insert as insert_or_skip
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from services.database import Seed

CLEARING = "clearing"
"""What a bank owes the other one, or is owed by it."""

metadata = MetaData()
accounts = Table(
    "accounts",
    metadata,
    Column("account", String, primary_key=True),
    Column("opening_cents", Integer, nullable=False),
    Column("closed", Boolean, nullable=False),
)
postings = Table(
    "postings",
    metadata,
    Column("posting", Integer, primary_key=True),
    Column("account", String, nullable=False, index=True),
    Column("transfer_id", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("amount_cents", Integer, nullable=False),
)


async def post(session: AsyncSession, kind: str, transfer_id: str, giver: str, taker: str, amount_cents: int) -> None:
    """Move an amount from one account of this book to another."""
    shared = {"transfer_id": transfer_id, "kind": kind}
    rows = [{"account": giver, "amount_cents": -amount_cents}, {"account": taker, "amount_cents": amount_cents}]
    await session.execute(insert(postings), [row | shared for row in rows])


async def balance(session: AsyncSession, account: str) -> int | None:
    """What is on the account; None where there is none, or it is closed."""
    opening = select(accounts.c.opening_cents).where(accounts.c.account == account, ~accounts.c.closed)
    moved = select(func.coalesce(func.sum(postings.c.amount_cents), 0)).where(postings.c.account == account)
    begun = (await session.execute(opening)).scalar_one_or_none()
    return None if begun is None else begun + (await session.execute(moved)).scalar_one()


def opened_with(openings: dict[str, int], closed: frozenset[str] = frozenset()) -> Seed:
    """Fills a new book with accounts."""

    async def fill(connection: AsyncConnection) -> None:
        rows = [
            {"account": account, "opening_cents": cents, "closed": account in closed}
            for account, cents in openings.items()
        ]
        await connection.execute(insert_or_skip(accounts).on_conflict_do_nothing(), rows)

    return fill
