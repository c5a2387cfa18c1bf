"""Every kind of node, simulated: the flows of ``docs/how-to/flows.md``, and one service that does what they ask.

The service sells out now and then, says that a visa is not ready, and keeps what is booked by effect id.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from orchestra import App, Context, Coordinator, Done, Service
from orchestra.testing import MemoryDatabase, MemorySession, World
from tests.snippets import imported

with tempfile.TemporaryDirectory() as _folder, imported("how-to/flows.md", Path(_folder)) as _modules:
    PAGE: dict[str, Any] = dict(_modules)

trip = PAGE["trip"]
FLOWS = [
    trip.Trip,
    PAGE["insured"].Insured,
    PAGE["race"].Race,
    PAGE["patient"].Patient,
    PAGE["group"].Group,
    PAGE["family"].Party,
]
bookings = MemoryDatabase("bookings")
service = Service("trips")


@service.resource(scope="call")
async def session() -> AsyncIterator[MemorySession]:
    async with bookings.session() as opened:
        yield opened


async def book(command: Any, ctx: Context, session: MemorySession) -> Any:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if random.random() < 0.12:
            return effect.done(trip.SoldOut(what=command.what))
        if not command.what.startswith(("offer", "map", "guide")):  # those only look
            session[ctx.effect_id] = command.what
        return effect.done(trip.Booked(what=command.what, cents=60_000))


async def cancel(command: Any, ctx: Context, session: MemorySession) -> Any:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        if isinstance(effect.action, trip.Booked):
            del session[ctx.effect_id.replace("/undo/", "/action/")]
        return effect.done(Done())


async def charge(command: Any, ctx: Context, session: MemorySession) -> Any:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        return effect.done(trip.Charged())


async def ask_for_visa(command: Any, ctx: Context, session: MemorySession) -> Any:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        return effect.done(PAGE["group"].Visa(is_ready=random.random() < 0.5))


def _handle(function: Any, command: Any, answers: Any) -> None:
    function.__annotations__ = {"command": command, "ctx": Context, "session": MemorySession, "return": answers}
    service.handles(command)(function)


_handle(book, trip.Book, trip.Booked | trip.SoldOut)
_handle(cancel, trip.Cancel, Done)
_handle(charge, trip.Charge, trip.Charged)
_handle(ask_for_visa, PAGE["group"].AskForVisa, PAGE["group"].Visa)

app = App(services=[service], coordinators=[Coordinator("journeys", flows=FLOWS)])


async def journeys(world: World) -> None:
    """Trips of all kinds, with people and a bank that sometimes act in time, and now and then somebody who cancels."""
    chance = world.random.random
    cents = world.random.choice((50_000, 200_000))
    await world.publish(trip.TripAsked(trip_id="t", clerk="clara", cents=cents))
    if chance() < 0.3:
        await money(world, cents)
    if chance() < 0.5:
        names = [f"traveller {number}" for number in range(world.random.randint(0, 5))]
        await world.publish(PAGE["group"].GroupAsked(trip_id="g", travellers=names))
    if chance() < 0.5:
        await world.publish(PAGE["family"].PartyAsked(party_id="p"))
    if chance() < 0.3:
        key, flow = world.random.choice((("t", trip.Trip), ("g", PAGE["group"].Group), ("p", PAGE["family"].Party)))
        await world.operate(flow, key, "cancel")
    await world.sleep(world.random.choice(("1s", "1h", "2d")))
    if chance() < 0.8:
        await world.operate(PAGE["patient"].Patient, "t", "approve", by="mia", roles=["manager"])
        await world.sleep("1m")
    if chance() < 0.8:
        await money(world, cents)


async def money(world: World, cents: int) -> None:
    await world.publish(PAGE["patient"].Settled(payment_id=f"m-{world.messages}", trip_id="t", cents=cents))


def what_is_booked_is_kept_by_whom_it_was_booked_for(world: World) -> None:
    """Nothing is left of what was compensated, and nothing is missing of what was completed."""
    status = {instance.id: instance.status for instance in world.instances()}
    for effect_id in bookings.rows:
        instance = effect_id.rsplit("/", 4)[0]
        assert status[instance] in ("completed", "stuck"), (
            f"{effect_id} is booked, and {instance} is {status[instance]}"
        )
    race = world.instance(PAGE["race"].Race, "t")
    if race is not None and race.status == "completed":
        ways = [
            what for effect_id, what in bookings.rows.items() if "race/t/" in effect_id and what in ("train", "plane")
        ]
        assert len(ways) == 1, f"one way is taken, and the other undone: {ways}"
