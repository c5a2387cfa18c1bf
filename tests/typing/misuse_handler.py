"""Misuse of handlers that must not type-check. Above each line: a part of what each checker says."""

from typing import Any

from orchestra import Batch, Call, Done, Envelope
from orchestra.service.context import Context
from tests.typing.good_flow import Asked, AskedAgain, Free, Held, Hold, Paid, SoldOut
from tests.typing.good_handler import changes, free, shelves


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


# mypy says: incompatible type "Callable[[Asked], Coroutine[Any, Any, Held]]"
# mypy says: expected "Callable[[Asked], Coroutine[Any, Any, Never]]"
# pyright says: Function return type "Asked" is incompatible
# pyright says: with type "Command[R@handles, J@handles]"
@shelves.handles(Asked)
async def an_event_is_no_command(event: Asked) -> Held:
    return Held(shelf=1)


# mypy says: incompatible type "Callable[[AskedAgain], Coroutine[Any, Any, None]]"
# mypy says: expected "Callable[[Asked], Coroutine[Any, Any, None]]"
# pyright says: Parameter 1: type "Asked" is incompatible with type "AskedAgain"
@shelves.on(Asked)
async def another_event(event: AskedAgain) -> None: ...


# mypy says: Value of type variable "Emitting" of "__call__" of "EventDecorator" cannot be "Coroutine[Any, Any, Hold]"
# pyright says: Function return type "CoroutineType[Any, Any, Hold]" is incompatible
@shelves.on(Asked)
async def a_command_is_no_event(event: Asked) -> Hold:
    return Hold(id=event.id)


async def a_test_calls_it_plainly() -> Held:
    # mypy says: Incompatible return value type (got "Done", expected "Held")
    # pyright says: Type "Done" is not assignable to return type "Held"
    return await free(Free(id="1", shelf=None))


# mypy says: incompatible type "Callable[[Asked], Coroutine[Any, Any, None]]"
# mypy says: expected "Callable[[Asked | AskedAgain], Coroutine[Any, Any, None]]"
# pyright says: Parameter 1: type "Asked | AskedAgain" is incompatible with type "Asked"
@shelves.on(Asked, AskedAgain)
async def one_of_two_types(event: Asked) -> None: ...


# mypy says: Value of type variable "Emitting" of "__call__" of "EventDecorator" cannot be
# mypy says: "Coroutine[Any, Any, tuple[Asked, str]]"
# pyright says: Function return type "CoroutineType[Any, Any, tuple[Asked, str]]" is incompatible
@shelves.on(Asked)
async def several_of_which_one_is_no_event(event: Asked) -> tuple[Asked, str]:
    return event, ""


# mypy says: No overload variant of "on" of "Service" matches argument type "str"
# pyright says: cannot be assigned to parameter "event" of type "type[E1@on]"
@shelves.on("typing.*")
async def a_pattern_without_topic(event: Envelope) -> None: ...


# mypy says: expected "Callable[[Envelope], Coroutine[Any, Any, None]]"
# pyright says: Parameter 1: type "Envelope" is incompatible with type "Asked"
@shelves.on("typing.*", topic="typing")
async def a_pattern_is_raw(event: Asked) -> None: ...


# mypy says: expected "Callable[[list[Asked]], Coroutine[Any, Any, None]]"
# pyright says: Parameter 1: type "list[Asked]" is incompatible with type "Asked"
@shelves.on(Asked, batch=Batch())
async def a_batch_is_a_list(event: Asked) -> None: ...


# mypy says: Value of type variable "Silent" of "__call__" of "BatchDecorator" cannot be "Coroutine[Any, Any, Asked]"
# pyright says: Type "CoroutineType[Any, Any, Asked]" is not assignable to type "Coroutine[Any, Any, None] | None"
@shelves.on(Asked, batch=Batch())
async def a_batch_returns_nothing(events: list[Asked]) -> Asked:
    return events[0]


# mypy says: incompatible type "Callable[[Hold], Paid]"
# pyright says: Function return type "Paid" is incompatible
@shelves.handles(Hold)
def another_reply_in_a_thread(command: Hold) -> Paid:
    return Paid(cents=1)


# mypy says: Dict entry 0 has incompatible type "str": "int"; expected "str": "str"
# pyright says: "dict[str, int]" is not assignable to "Mapping[str, str]"
@shelves.on(Asked, where={"source": 5})
async def a_pattern_is_text(event: Asked) -> None: ...


# mypy says: Value of type variable "W" of "middleware" of "Service" cannot be
# pyright says: Function return type "None" is incompatible with type "Awaitable[Any]"
@shelves.middleware
def a_middleware_is_async(call: Call, event: Any, ctx: Context) -> None: ...


# mypy says: Unexpected keyword argument "retries"
# pyright says: No overloads for "on" match the provided arguments
@shelves.on(Asked, retries=3)
async def a_misspelt_option(event: Asked) -> None: ...


# mypy says: expected "Callable[[Change], Coroutine[Any, Any, None]]"
# pyright says: Parameter 1: type "Change" is incompatible with type "Asked"
@shelves.on(changes)
async def another_class_than_the_topics(event: Asked) -> None: ...


def publishes_something_else(ctx: Context) -> None:
    # mypy says: Cannot infer value of type parameter "V" of "publish" of "Context"
    # pyright says: "Topic[Change]" is not assignable to "Topic[Asked]"
    ctx.publish(Asked(id="1"), to=changes)
