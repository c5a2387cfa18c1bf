"""Running flows from a program, and their queries: what must type-check, without a cast."""

from typing import assert_type

from orchestra import (
    Bus,
    Coordinator,
    Event,
    FlowView,
    Key,
    Saga,
    connect,
    on_completed,
    query,
    starts_on,
    step,
    wait_for,
)
from orchestra.flows.decision import Status
from tests.typing.good_flow import Held, Hold


class Wanted(Event, type="typing.wanted.v1", topic="typing.events"):
    key: Key[str]


class Fetched(Event, type="typing.fetched.v1", topic="typing.events"):
    key: Key[str]
    by: str


class Gone(Event, type="typing.gone.v1", topic="typing.events"):
    key: Key[str]


class Fetch(Saga, name="fetch", version=1):
    wanted = starts_on(Wanted)

    @step(kind="read_only")
    def hold(self) -> Hold:
        raise NotImplementedError

    fetched = wait_for(Fetched, after=hold, timeout="1h")

    @on_completed(hold)
    def gone(self, held: Held) -> Gone:
        return Gone(key=self.wanted.key)

    @query
    def by(self, view: FlowView) -> str | None:
        assert_type(view.reply(Fetch.hold), Held | None)
        assert_type(view.status, Status)
        fetched = assert_type(view.reply(Fetch.fetched), Fetched | None)
        return None if fetched is None else fetched.by


async def run(bus: Bus) -> None:
    wanted = Wanted(key="k")
    assert_type(await bus.run(Fetch, wanted, timeout="1m"), Event)
    assert_type(await bus.run(Fetch, wanted, timeout="1m", yields=Gone), Gone)
    assert_type(await bus.run(Fetch, wanted, timeout="1m", yields=(Gone, Fetched)), Gone | Fetched)
    await bus.signal(Fetch, "k", Fetched(key="k", by="me"))
    await bus.cancel(Fetch, "k", reason="why not", by="me", timeout="5s")
    assert_type(await bus.query(Fetch.by, "k"), str | None)


async def open_a_bus() -> None:
    async with connect(coordinators=[Coordinator("fetching", flows=[Fetch])]) as bus:
        await run(bus)
