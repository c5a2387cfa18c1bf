"""Misuse of the bus that must not type-check. Above each line: a part of what each checker says."""

from orchestra import Bus, Done
from tests.typing.good_flow import Asked, Held, Hold, Pay, SoldOut


async def ask_an_event(bus: Bus, asked: Asked) -> None:
    # mypy says: Argument 1 to "ask" of "Bus" has incompatible type "Asked"
    # pyright says: "Asked" is not assignable to "Command
    await bus.ask(asked, timeout="5s")


async def ask_without_an_end(bus: Bus, hold: Hold) -> None:
    # mypy says: Missing named argument "timeout"
    # pyright says: Argument missing for parameter "timeout"
    await bus.ask(hold)


async def take_the_outcome_for_another(bus: Bus, hold: Hold, pay: Pay) -> None:
    # mypy says: Argument 1 to "ask" of "Bus" has incompatible type "Hold"; expected "Command[Held, Held]"
    # pyright says: "SoldOut" is not assignable to "Held"
    held: Held = await bus.ask(hold, timeout="5s")
    # mypy says: incompatible type "Pay"; expected "Command[Done | SoldOut, Done | SoldOut]"
    # pyright says: is not assignable to declared type "Done | SoldOut"
    done: Done | SoldOut = await bus.ask(pay, timeout="5s")
    print(held, done)


async def publish(bus: Bus, asked: Asked) -> None:
    # mypy says: incompatible type "str"; expected "Iterable[Message] | AsyncIterable[Message]"
    # pyright says: "publish"
    await bus.publish("shop.orders")
    # mypy says: No overload variant of "publish" of "Bus" matches argument types "Asked", "str"
    # pyright says: "Asked" is not assignable to "CloudEvent"
    await bus.publish(asked, topic="shop.orders")
    # mypy says: No overload variant of "publish" of "Bus" matches argument types "list[Asked]", "str"
    # pyright says: is not assignable to "Message"
    await bus.publish([asked], id="1")
