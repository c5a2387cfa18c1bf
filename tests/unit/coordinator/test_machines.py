"""Machines on a log in memory: services answer their commands, the router finds them, people decide, weeks pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

import orchestra
from orchestra import Context, Coordinator, Data, Done, Event, Key, Service, StateMachine, Undo, starts_on, state
from orchestra.bus.bus import Bus
from orchestra.coordinator.names import Names
from orchestra.coordinator.request import request_record
from orchestra.flows.decision import OperatorRequest
from orchestra.settings import Settings
from orchestra.testing.memory import MemoryTransport, published, running_in_memory
from tests.unit.coordinator.harness import ShiftedClock
from tests.unit.flows import loan as loans
from tests.unit.flows.loan import AskBureau, CheckIdentity, CreditCheck, Identified, Loan, LoanRequested, LoanWithdrawn
from tests.unit.flows.parcel import (
    Delivered,
    EndSearch,
    Parcel,
    ParcelArrived,
    ParcelFound,
    ParcelLost,
    ParcelNowhere,
    ParcelRegistered,
    Scanned,
    SearchEnded,
    SearchParcel,
)

pytestmark = pytest.mark.virtual_time
START = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)


async def until(is_so: Callable[[], bool], what: str = "") -> None:
    for _ in range(400):
        if is_so():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"it did not come about: {what}")


class Yard:
    """A log with everything that runs on it, and time that can be moved."""

    def __init__(self, log: MemoryTransport, bus: Bus, clock: ShiftedClock) -> None:
        self.log = log
        self.bus = bus
        self.clock = clock

    def journal(self) -> str:
        records = self.log.cluster.records("post.journal")
        return "\n".join((record.value or b"").decode() for record in records)

    async def decide(self, action: str, instance: str, by: str, *roles: str) -> None:
        request = OperatorRequest(action, by=by, reason="I looked", roles=roles)  # type: ignore[arg-type]
        names = Names.of("post", Settings(env="test"))
        publisher = self.log.publisher()
        await publisher.start()
        record = request_record(names, 2, instance, request, event_id=f"r-{by}", now=self.clock.now(), source="/test")
        await publisher.publish([record])
        await publisher.aclose()


@asynccontextmanager
async def yard(*services: Service) -> AsyncIterator[Yard]:
    clock = ShiftedClock(START)
    coordinator = Coordinator("post", flows=[Parcel, Loan, CreditCheck, Membership], partitions=2)
    async with (
        running_in_memory(coordinator, *services, clock=clock) as log,
        orchestra.connect(transport=log) as bus,
    ):
        yield Yard(log, bus, clock)


def depots(*, finds: bool) -> Service:
    service = Service("depots")

    @service.handles(SearchParcel)
    async def search(command: SearchParcel, ctx: Context) -> ParcelFound | ParcelNowhere:
        return ParcelFound(depot="west") if finds else ParcelNowhere(searched=9)

    @service.handles(EndSearch)
    async def end(command: EndSearch, ctx: Context) -> SearchEnded | ParcelNowhere:
        return SearchEnded()

    return service


async def test_a_parcel_goes_its_way_is_lost_for_a_week_and_found() -> None:
    async with yard(depots(finds=True)) as it:
        await it.bus.publish(ParcelRegistered(parcel_id="p-1", address="Main Street 1"))
        await it.bus.publish(Scanned(parcel_id="p-1", depot="north", at=START + timedelta(hours=1)))
        await until(lambda: "Scanned: to moving" in it.journal())

        it.clock.days = 8
        await until(lambda: len(published(it.log, ParcelLost)) == 1, "it is lost")
        await until(lambda: "depots.search.ended.v1" in it.journal(), "the search has ended")
        await it.bus.publish(Delivered(parcel_id="p-1"))
        await until(lambda: len(published(it.log, ParcelArrived)) == 1, "it has arrived")

        assert published(it.log, ParcelLost)[0].last_seen == "north"


async def test_hazard_16_a_scan_before_the_registration_waits_for_it() -> None:
    async with yard(depots(finds=True)) as it:
        await it.bus.publish(Scanned(parcel_id="p-1", depot="north", at=START))
        await asyncio.sleep(5)
        await it.bus.publish(ParcelRegistered(parcel_id="p-1", address="Main Street 1"))
        await it.bus.publish(Delivered(parcel_id="p-1"))
        await until(lambda: len(published(it.log, ParcelArrived)) == 1, "it has arrived")


async def test_a_loan_is_checked_by_a_saga_and_decided_by_a_person() -> None:
    async with yard(bureau(700), identity()) as it:
        await it.bus.publish(LoanRequested(loan_id="l-1", amount=9000, clerk="carl"))
        await until(lambda: "approval.requested" in it.journal(), "somebody is asked")
        await it.decide("approve", "loan/l-1", "carl", "credit-officer")
        await until(lambda: "carl asked for it" in it.journal(), "carl is refused")
        await it.decide("approve", "loan/l-1", "olga", "credit-officer")
        await until(lambda: len(published(it.log, loans.LoanPaidOut)) == 1, "it is paid out")


async def test_a_loan_that_is_withdrawn_cancels_its_check_and_undoes_it() -> None:
    silent = asyncio.Event()
    undone: list[str] = []
    async with yard(bureau(700, silent, undone), identity()) as it:
        await it.bus.publish(LoanRequested(loan_id="l-1", amount=9000, clerk="carl"))
        await until(lambda: "flow.called" in it.journal())
        await it.bus.publish(LoanWithdrawn(loan="l-1", by="the customer"))
        await until(lambda: "flow.cancelling" in it.journal(), "it is asked to stop")
        silent.set()
        await until(lambda: "flow.stopped" in it.journal(), "it has stopped")
        assert undone == ["l-1-credit"]
        assert not published(it.log, loans.LoanPaidOut)


class MembershipBegun(Event, type="club.membership.begun.v1", topic="club"):
    member: Key[str]


class MembershipEnded(Event, type="club.membership.ended.v1", topic="club"):
    member: Key[str]


class Membership(StateMachine[Data], name="membership"):
    """While somebody is a member, what the credit check has done stands; then it is undone."""

    begun = starts_on(MembershipBegun)
    member = state(initial=True)
    over = state(final=True)

    @member.runs(CreditCheck, yields=loans.CreditScored)
    def check(self) -> loans.CreditCheckAsked:
        return loans.CreditCheckAsked(check_id=self.begun.member, amount=1)

    member.on(MembershipEnded, to=over)


async def test_a_flow_that_has_completed_is_undone_when_its_state_is_left() -> None:
    undone: list[str] = []
    async with yard(bureau(700, None, undone), identity()) as it:
        await it.bus.publish(MembershipBegun(member="m-1"))
        await until(lambda: "flow.completed" in it.journal())
        await it.bus.publish(MembershipEnded(member="m-1"))
        await until(lambda: "flow.undone" in it.journal(), "it is undone")
        assert undone == ["m-1"]


def bureau(score: int, silent: asyncio.Event | None = None, undone: list[str] | None = None) -> Service:
    service = Service("bureau")

    @service.handles(AskBureau)
    async def ask(command: AskBureau, ctx: Context) -> loans.Scored | loans.Unknown:
        if silent is not None:
            await silent.wait()
        return loans.Scored(score=score)

    @service.handles(Undo[AskBureau])
    async def undo(command: Undo[AskBureau], ctx: Context) -> Done:
        if undone is not None:
            undone.append(command.key)
        return Done()

    return service


def identity() -> Service:
    service = Service("identity")

    @service.handles(CheckIdentity)
    async def check(command: CheckIdentity, ctx: Context) -> Identified:
        return Identified()

    return service


def test_machines_are_named_to_operators_as_flows_are() -> None:
    coordinator = Coordinator("post", flows=[Parcel, Loan, CreditCheck], partitions=2)
    needed = {spec.name for spec in coordinator.needed_topics(Settings(env="test"))}
    assert {"parcels", "scans", "depots.commands", "loans", "loans.requests"} <= needed
