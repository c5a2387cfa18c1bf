"""Misuse of handlers that must not type-check. Above each line: a part of what each checker says."""

from orchestra import Done
from orchestra.service.context import Context
from tests.typing.good_flow import Asked, AskedAgain, Free, Held, Hold, Paid, SoldOut
from tests.typing.good_handler import free, shelves


# mypy says: incompatible type "Callable[[Hold, Context], Coroutine[Any, Any, Paid]]"
# mypy says: expected "Callable[[Hold, Context], Coroutine[Any, Any, Held | SoldOut]]"
# pyright says: Function return type "CoroutineType[Any, Any, Paid]" is incompatible
# pyright says: with type "Coroutine[Any, Any, Held | SoldOut]"
@shelves.handles(Hold)
async def a_reply_of_another_command(command: Hold, ctx: Context) -> Paid:
    return Paid(cents=1)


# mypy says: incompatible type "Callable[[Hold], Coroutine[Any, Any, Held | None]]"
# mypy says: expected "Callable[[Hold], Coroutine[Any, Any, Held | SoldOut]]"
# pyright says: Function return type "CoroutineType[Any, Any, Held | None]" is incompatible
# pyright says: with type "Coroutine[Any, Any, Held | SoldOut]"
@shelves.handles(Hold)
async def no_answer_at_all(command: Hold) -> Held | None:
    return None


# mypy says: incompatible type "Callable[[Free], Coroutine[Any, Any, Done | SoldOut]]"
# mypy says: expected "Callable[[Free], Coroutine[Any, Any, Done]]"
# pyright says: Function return type "CoroutineType[Any, Any, Done | SoldOut]" is incompatible
# pyright says: with type "Coroutine[Any, Any, Done]"
@shelves.handles(Free)
async def a_rejection_of_what_cannot_be_rejected(command: Free) -> Done | SoldOut:
    return SoldOut()


# mypy says: incompatible type "Callable[[Hold], Held]"
# mypy says: expected "Callable[[Hold], Coroutine[Any, Any, Held | SoldOut]]"
# pyright says: Function return type "Held" is incompatible
# pyright says: with type "Coroutine[Any, Any, Held | SoldOut]"
@shelves.handles(Hold)
def not_a_coroutine(command: Hold) -> Held:
    return Held(shelf=1)


# mypy says: incompatible type "Callable[[Asked], Coroutine[Any, Any, Held]]"
# mypy says: expected "Callable[[Asked], Coroutine[Any, Any, Never]]"
# pyright says: Function return type "Asked" is incompatible
# pyright says: with type "Command[R@handles, J@handles]"
@shelves.handles(Asked)
async def an_event_is_no_command(event: Asked) -> Held:
    return Held(shelf=1)


# mypy says: incompatible type "Callable[[AskedAgain], Coroutine[Any, Any, None]]"
# mypy says: expected "Callable[[Asked], Coroutine[Any, Any, Event | None]]"
# pyright says: Parameter 1: type "Asked" is incompatible with type "AskedAgain"
@shelves.on(Asked)
async def another_event(event: AskedAgain) -> None: ...


# mypy says: incompatible type "Callable[[Asked], Coroutine[Any, Any, Hold]]"
# mypy says: expected "Callable[[Asked], Coroutine[Any, Any, Event | None]]"
# pyright says: Function return type "CoroutineType[Any, Any, Hold]" is incompatible
# pyright says: with type "Coroutine[Any, Any, Event | None]"
@shelves.on(Asked)
async def a_command_is_no_event(event: Asked) -> Hold:
    return Hold(id=event.id)


async def a_test_calls_it_plainly() -> Held:
    # mypy says: Incompatible return value type (got "Done", expected "Held")
    # pyright says: Type "Done" is not assignable to return type "Held"
    return await free(Free(id="1", shelf=None))
