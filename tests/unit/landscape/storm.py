"""A system with everything wrong in it that can be."""

from __future__ import annotations

from typing import Never

from orchestra.coordinator.coordinator import Coordinator
from orchestra.events.envelope import Envelope
from orchestra.events.message import Command, Done, Event, Key
from orchestra.flows.declare import wait_for
from orchestra.flows.saga import Flow, on_completed, starts_on, step
from orchestra.service.context import Context
from orchestra.service.service import Service


class Ping(Event, type="storm.ping.v1", topic="storm.pings"):
    id: Key[str]


class Pong(Event, type="storm.pong.v1", topic="storm.pongs"):
    id: Key[str]


class Asked(Event, type="calm.asked.v1", topic="calm.asked"):
    id: Key[str]


class Seen(Event, type="calm.seen.v1", topic="calm.seen"):
    id: Key[str]


class Told(Event, type="calm.told.v1", topic="calm.told"):
    id: Key[str]


class Look(Command[Done, Never], type="calm.look.v1", topic="calm.commands"):
    id: Key[str]


class Ship(Command[Done, Never], type="calm.ship.v1", topic="calm.commands"):
    id: Key[str]


class Forgotten(Command[Done, Never], type="calm.forgotten.v1", topic="calm.commands"):
    id: Key[str]


left, right, watch = Service("left"), Service("right"), Service("watch")


@left.on(Ping)
async def on_ping(event: Ping, ctx: Context) -> Pong | None:
    return Pong(id=event.id)


@right.on(Pong)
async def on_pong(event: Pong, ctx: Context) -> None:
    ctx.publish(Ping(id=event.id))


@left.handles(Look)
async def look(command: Look, ctx: Context) -> Done:
    ctx.publish(Seen(id=command.id))
    return Done()


@left.handles(Forgotten)
async def forgotten(command: Forgotten, ctx: Context) -> Done:
    return Done()


@watch.on("storm.*", topic=["storm.pings", "storm.pongs"])
async def watch_all(event: Envelope, ctx: Context) -> None:
    """Reacts with nothing."""


class Calm(Flow, name="calm"):
    """It waits for an event that its own command brings about: no circle, for it waits once."""

    asked = starts_on(Asked)

    @step
    def look(self) -> Look:
        return Look(id=self.asked.id)

    seen = wait_for(Seen, after=look, timeout="1h")

    @step(after=seen)
    def ship(self) -> Ship:
        return Ship(id=self.asked.id)

    @on_completed()
    def told(self) -> Told:
        return Told(id=self.asked.id)


calm = Coordinator("calm", flows=[Calm])
