"""Misuse of the bus that must not type-check. Above each line: a part of what each checker says."""

from orchestra import Bus, Done
from tests.typing.good_flow import Asked, Held, Hold, Pay, SoldOut


async def ask(bus: Bus, asked: Asked, hold: Hold, pay: Pay) -> None:
    # mypy says: Argument 1 to "ask" of "Bus" has incompatible type "Asked"
    # pyright says: "Asked" is not assignable to "Command
    await bus.ask(asked, timeout="5s")
    # mypy says: Missing named argument "timeout"
    # pyright says: Argument missing for parameter "timeout"
    await bus.ask(hold)
    # mypy says: Incompatible types in assignment (expression has type "Held | SoldOut", variable has type "Held")
    # pyright says: "SoldOut" is not assignable to "Held"
    held: Held = await bus.ask(hold, timeout="5s")
    # mypy says: variable has type "Done | SoldOut"
    # pyright says: is not assignable to declared type "Done | SoldOut"
    done: Done | SoldOut = await bus.ask(pay, timeout="5s")
    print(held, done)


async def publish(bus: Bus, asked: Asked) -> None:
    # mypy says: No overload variant of "publish" of "Bus" matches argument type "str"
    # pyright says: No overloads for "publish" match
    await bus.publish("shop.orders")
    # mypy says: No overload variant of "publish" of "Bus" matches argument types "Asked", "str"
    # pyright says: No overloads for "publish" match
    await bus.publish(asked, topic="shop.orders")
    # mypy says: No overload variant of "publish" of "Bus" matches argument types "list[Asked]", "str"
    # pyright says: No overloads for "publish" match
    await bus.publish([asked], id="1")
