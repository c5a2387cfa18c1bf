"""State machines, simulated: a loan with a saga inside, and an incident that escalates, with people who act or not."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

from orchestra import App, Context, Coordinator, Done, Service, Undo
from orchestra.testing import MemoryDatabase, MemorySession, World
from tests.unit.flows.incident import (
    Acknowledged,
    AlarmRaised,
    HandedOver,
    Incident,
    IncidentClosed,
    NobodyOnCall,
    Page,
    Solved,
)
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

asked = MemoryDatabase("bureau")
outside = Service("outside")


@outside.resource(scope="call")
async def session() -> AsyncIterator[MemorySession]:
    async with asked.session() as opened:
        yield opened


@outside.handles(AskBureau)
async def ask_bureau(command: AskBureau, ctx: Context, session: MemorySession) -> Scored | Unknown:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if random.random() < 0.2:
            return effect.done(Unknown())
        session[command.check_id] = session.get(command.check_id, 0) + 1
        return effect.done(Scored(score=random.choice((200, 700))))


@outside.handles(Undo[AskBureau])
async def withdraw(command: Undo[AskBureau], ctx: Context, session: MemorySession) -> Done:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if isinstance(effect.action, Scored):
            session[command.command.check_id] -= 1
        return effect.done(Done())


@outside.handles(CheckIdentity)
async def check_identity(command: CheckIdentity, ctx: Context, session: MemorySession) -> Identified:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            assert isinstance(effect.outcome, Identified)
            return effect.outcome
        return effect.done(Identified())


@outside.handles(Page)
async def page(command: Page, ctx: Context, session: MemorySession) -> Done | NobodyOnCall:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        return effect.done(NobodyOnCall() if random.random() < 0.3 else Done())


app = App(services=[outside], coordinators=[Coordinator("desk", flows=[Loan, CreditCheck, Incident])])


async def a_day_at_the_desk(world: World) -> None:
    """A loan and an incident, and people in a hurry, late, or absent."""
    chance = world.random.random
    await world.publish(LoanRequested(loan_id="l", amount=1000, clerk="clara"))
    await world.publish(AlarmRaised(incident_id="i", severity=world.random.choice((1, 3))))
    if chance() < 0.3:
        await world.publish(LoanWithdrawn(loan="l", by="the customer"))
    if chance() < 0.5:
        await world.sleep(world.random.choice(("1m", "40m")))
        await world.publish(Acknowledged(incident_id="i", by="olga"))
    if chance() < 0.3:
        await world.publish(HandedOver(incident_id="i", to="piet"))
    await world.sleep("1m")
    if is_solved := chance() < 0.8:
        await world.publish(Solved(incident_id="i"))
    await world.sleep(world.random.choice(("1m", "3d")))
    await world.operate(Loan, "l", world.random.choice(("approve", "reject")), by="otto", roles=["credit-officer"])
    if not is_solved:
        await world.publish(Solved(incident_id="i"))
    await world.sleep("3d")
    await world.operate(Loan, "l", "approve", by="hanna", roles=["head-of-credit"])


def everything_has_one_end(world: World) -> None:
    """A loan is paid out, declined or withdrawn, once; the incident is closed; what was asked in vain is withdrawn."""
    ends = len(world.published(LoanPaidOut)) + len(world.published(LoanDeclined))
    loan, check = world.instance(Loan, "l"), world.instance(CreditCheck, "l-credit")
    assert loan is not None
    assert loan.is_over, loan
    withdrawn = bool(world.published(LoanWithdrawn)) and not ends
    assert ends == 1 or withdrawn, f"{ends} ends"
    if check is not None and check.status == "compensated":
        assert not asked.rows.get("l-credit"), asked.rows
    incident = world.instance(Incident, "i")
    assert incident is not None
    assert incident.is_over, incident
    assert len(world.published(IncidentClosed)) == 1
