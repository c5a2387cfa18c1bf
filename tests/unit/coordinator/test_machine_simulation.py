"""Do machines keep their promises when processes die, records come twice and late, and partitions move?"""

from __future__ import annotations

from collections.abc import AsyncIterator

from orchestra import App, Context, Coordinator, Done, Service, Undo
from orchestra.testing import MemoryDatabase, Simulation, World
from orchestra.testing.memory_database import MemorySession
from tests.unit.flows.loan import (
    AskBureau,
    CheckIdentity,
    CreditCheck,
    Identified,
    Loan,
    LoanDeclined,
    LoanPaidOut,
    LoanRequested,
    LoanWithdrawn,
    Scored,
    Unknown,
)
from tests.unit.flows.parcel import (
    Delivered,
    EndSearch,
    Parcel,
    ParcelArrived,
    ParcelFound,
    ParcelNowhere,
    ParcelRegistered,
    ParcelReturned,
    Scanned,
    SearchEnded,
    SearchParcel,
)

searches = MemoryDatabase("searches", {"begun": 0, "ended": 0})
depots = Service("depots")


@depots.resource(scope="call")
async def session() -> AsyncIterator[MemorySession]:
    async with searches.session() as opened:
        yield opened


@depots.handles(SearchParcel)
async def search(command: SearchParcel, ctx: Context, session: MemorySession) -> ParcelFound | ParcelNowhere:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        session["begun"] += 1
        return effect.done(ParcelFound(depot="west"))


@depots.handles(EndSearch)
async def end_search(command: EndSearch, ctx: Context, session: MemorySession) -> SearchEnded | ParcelNowhere:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        session["ended"] += 1
        return effect.done(SearchEnded())


post = App(services=[depots], coordinators=[Coordinator("post", flows=[Parcel])])


async def a_parcel_in_a_storm(world: World) -> None:
    """Scans in any order, a week of silence or none, and the end, which is told until it is heard."""
    await world.publish(ParcelRegistered(parcel_id="p-1", address="Main Street 1"))
    for number in range(world.random.randint(0, 3)):
        hours = world.random.choice((1, 2, 3))
        at = world.now().replace(hour=hours, minute=number)
        await world.publish(Scanned(parcel_id="p-1", depot=f"d-{hours}", at=at))
        await world.sleep(world.random.choice(("1s", "1m", "8d")))
    for _ in range(2):
        await world.sleep("1h")
        await world.settle()
        await world.publish(Scanned(parcel_id="p-1", depot="last", at=world.now()))
        await world.publish(Delivered(parcel_id="p-1"))


def it_arrived_once(world: World) -> None:
    (parcel,) = world.instances("parcel")
    assert parcel.is_over, parcel
    assert len(world.published(ParcelArrived)) + len(world.published(ParcelReturned)) == 1
    assert searches.rows["ended"] >= searches.rows["begun"] - 1


def test_a_parcel_ends_once_whatever_breaks() -> None:
    Simulation(post, a_parcel_in_a_storm, check=it_arrived_once).explore(seeds=40)


bureau_book = MemoryDatabase("bureau", {"asked": 0, "withdrawn": 0})
bureau = Service("bureau")


@bureau.resource(scope="call")
async def bureau_session() -> AsyncIterator[MemorySession]:
    async with bureau_book.session() as opened:
        yield opened


@bureau.handles(AskBureau)
async def ask_bureau(command: AskBureau, ctx: Context, session: MemorySession) -> Scored | Unknown:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        session["asked"] += 1
        return effect.done(Scored(score=100))


@bureau.handles(Undo[AskBureau])
async def withdraw(command: Undo[AskBureau], ctx: Context, session: MemorySession) -> Done:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        session["withdrawn"] += isinstance(effect.action, Scored)
        return effect.done(Done())


@bureau.handles(CheckIdentity)
async def identify(command: CheckIdentity, ctx: Context, session: MemorySession) -> Identified:
    async with ctx.effect(session, command) as effect:
        return effect.outcome if effect.outcome is not None else effect.done(Identified())


bank = App(services=[bureau], coordinators=[Coordinator("bank", flows=[Loan, CreditCheck])])


async def a_loan_that_is_perhaps_withdrawn(world: World) -> None:
    await world.publish(LoanRequested(loan_id="l-1", amount=9000, clerk="carl"))
    if world.random.random() < 0.7:
        await world.sleep(world.random.choice(("10ms", "100ms", "1s", "5s", "40s")))
        await world.publish(LoanWithdrawn(loan="l-1", by="the customer"))


def a_loan_is_declined_or_its_check_is_withdrawn(world: World) -> None:
    (loan,) = world.instances("loan")
    (check,) = world.instances("credit-check")
    assert loan.is_over, loan
    assert check.is_over, check
    assert not world.published(LoanPaidOut)
    declined = len(world.published(LoanDeclined))
    assert declined <= 1
    if check.status == "compensated":
        assert bureau_book.rows["withdrawn"] == bureau_book.rows["asked"]


def test_leaving_a_state_stops_or_undoes_its_flow_whatever_breaks() -> None:
    check = a_loan_is_declined_or_its_check_is_withdrawn
    Simulation(bank, a_loan_that_is_perhaps_withdrawn, check=check).explore(seeds=40)
