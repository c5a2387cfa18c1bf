"""Resources at run time: opened in order, injected by type, closed in reverse, told of errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from orchestra.errors import PermanentError
from orchestra.retry import Retry
from orchestra.service.context import Context
from orchestra.service.resources import OpenResources, in_order
from orchestra.service.service import Service
from tests.unit.service.rig import Placed, Rig

pytestmark = pytest.mark.virtual_time


class Engine: ...


class Client:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine


class Session:
    def __init__(self, client: Client) -> None:
        self.client = client


class Unit:
    def __init__(self, session: Session) -> None:
        self.session = session


class Shop:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.service = Service("stock")
        self.units: list[Unit] = []
        said, service = self.said, self.service

        @service.resource(scope="call")
        async def unit(session: Session, client: Client) -> AsyncIterator[Unit]:
            assert session.client is client
            said.append("unit")
            try:
                yield Unit(session)
            except PermanentError as error:
                said.append(f"unit told of {error}")
                raise
            finally:
                said.append("unit closed")

        @service.resource(scope="call")
        async def session(client: Client) -> AsyncIterator[Session]:
            said.append("session")
            try:
                yield Session(client)
            finally:
                said.append("session closed")

        @service.resource
        async def client(engine: Engine) -> AsyncIterator[Client]:
            said.append("client")
            yield Client(engine)
            said.append("client closed")

        @service.resource
        async def engine() -> AsyncIterator[Engine]:
            said.append("engine")
            yield Engine()
            said.append("engine closed")


async def test_resources_are_opened_in_the_order_of_their_needs_and_closed_in_reverse() -> None:
    shop, rig = Shop(), Rig()

    @shop.service.on(Placed)
    async def placed(event: Placed, unit: Unit, ctx: Context, engine: Engine) -> None:
        assert unit.session.client.engine is engine
        shop.units.append(unit)

    async with rig.running(shop.service) as process:
        await rig.send(Placed(order_id="1"))
        await process.idle()
        await rig.send(Placed(order_id="1"))
        await process.idle()

    call = ["session", "unit", "unit closed", "session closed"]
    assert shop.said == ["engine", "client", *call, *call, "client closed", "engine closed"]
    first, second = shop.units
    assert first is not second


async def test_call_resource_is_new_for_each_attempt_and_told_of_the_error() -> None:
    shop, rig = Shop(), Rig()

    @shop.service.on(Placed, retry=Retry(attempts=2))
    async def placed(event: Placed, unit: Unit, ctx: Context) -> None:
        shop.units.append(unit)
        raise ValueError("first") if ctx.attempt == 1 else PermanentError("second")

    async with rig.running(shop.service) as process:
        await rig.send(Placed(order_id="1"))
        await process.idle()

    assert len(set(shop.units)) == 2
    assert shop.said.count("session closed") == 2
    assert "unit told of second" in shop.said


async def test_call_resource_is_closed_when_the_handler_is_cancelled() -> None:
    shop, rig = Shop(), Rig()

    @shop.service.on(Placed, retry=Retry(attempts=1), timeout="1s")
    async def placed(event: Placed, unit: Unit) -> None:
        await asyncio.sleep(3600)

    async with rig.running(shop.service) as process:
        await rig.send(Placed(order_id="1"))
        await process.idle()

    assert shop.said[2:6] == ["session", "unit", "unit closed", "session closed"]


async def test_call_resource_that_cannot_be_opened_is_a_failure_of_the_attempt() -> None:
    rig = Rig()
    service = Service("stock")
    opened = 0

    @service.resource(scope="call")
    async def engine() -> AsyncIterator[Engine]:
        nonlocal opened
        opened += 1
        if opened == 1:
            raise OSError("no room")
        yield Engine()

    handled: list[Engine] = []

    @service.on(Placed)
    async def placed(event: Placed, engine: Engine) -> None:
        handled.append(engine)

    async with rig.running(service) as process:
        await rig.send(Placed(order_id="1"))
        await process.idle()

    assert len(handled) == 1
    assert rig.letters() == []


async def test_resources_before_one_that_fails_are_closed() -> None:
    shop = Shop()
    ordered = in_order(shop.service.resources, shop.service.resources, wanted_by="test")

    class Broken: ...

    @shop.service.resource
    async def broken(client: Client) -> AsyncIterator[Broken]:
        raise OSError("no such host")
        yield Broken()

    ordered = in_order([Broken], shop.service.resources, wanted_by="test")
    with pytest.raises(OSError, match="no such host"):
        await OpenResources().open(ordered)
    assert shop.said == ["engine", "client", "client closed", "engine closed"]
