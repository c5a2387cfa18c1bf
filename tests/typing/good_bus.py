"""Uses of the bus that must type-check, without a cast."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import assert_type

from cloudevents.core.v1.event import CloudEvent

import orchestra
from orchestra import Bus, Done, Settings, Undo
from tests.typing.good_flow import Asked, Free, Held, Hold, Paid, PaidLater, Pay, SoldOut


def several() -> Iterator[Asked | SoldOut]:
    yield SoldOut()


async def as_they_come(events: list[Asked]) -> AsyncIterator[Asked]:
    for event in events:
        yield event


async def publish(asked: Asked, sdk: CloudEvent) -> None:
    async with orchestra.connect(Settings(), name="web") as bus:
        await bus.publish(asked)
        await bus.publish(asked, id="1", source="/web", correlation_id="2")
        await bus.publish(asked, SoldOut(), correlation_id="2")
        await bus.publish([asked, asked])
        await bus.publish(several())
        await bus.publish(as_they_come([asked]), correlation_id="2")
        await bus.publish(sdk, topic="shop.orders", key="1")


async def ask(bus: Bus, hold: Hold, pay: Pay, free: Free) -> None:
    assert_type(await bus.ask(hold, timeout="5s"), Held | SoldOut)
    assert_type(await bus.ask(pay, timeout=timedelta(seconds=5), effect_id="1"), Paid | PaidLater | SoldOut)
    assert_type(await bus.ask(free, timeout="5s", correlation_id="1"), Done)
    assert_type(await bus.ask(Undo.of(hold, effect_id="1"), timeout="5s"), Done)
