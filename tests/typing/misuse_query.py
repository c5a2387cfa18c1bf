"""Misuse of running flows that must not type-check. Above each line: a part of what each checker says."""

from orchestra import Bus, FlowView, query
from tests.typing.good_flow import Held
from tests.typing.good_query import Fetch, Fetched, Gone, Wanted


async def take_the_answer_for_another(bus: Bus) -> None:
    # mypy says: expected "FlowQuery[int]"
    # pyright says: Type "str | None" is not assignable to declared type "int"
    by: int = await bus.query(Fetch.by, "k")
    print(by)


async def ask_a_step(bus: Bus) -> None:
    # mypy says: incompatible type "Step[Held]"; expected "FlowQuery[
    # pyright says: "FlowQuery[
    await bus.query(Fetch.hold, "k")


async def forget_that_it_may_not_be_done(view: FlowView) -> str:
    # mypy says: "Fetched | None"
    # pyright says: "by" is not a known attribute of "None"
    return view.reply(Fetch.fetched).by


async def take_the_reply_for_another(view: FlowView) -> None:
    # mypy says: expression has type "Held | None", variable has type "Fetched | None"
    # pyright says: "Held" is not assignable to "Fetched"
    fetched: Fetched | None = view.reply(Fetch.hold)
    print(fetched)


async def run_without_an_end(bus: Bus) -> None:
    # mypy says: No overload variant of "run"
    # pyright says: No overloads for "run"
    await bus.run(Fetch, Wanted(key="k"))


async def want_another_end(bus: Bus) -> Held:
    # mypy says: incompatible type "type[Gone]"; expected "type[Held]"
    # pyright says: "Gone" is not assignable to "Held"
    return await bus.run(Fetch, Wanted(key="k"), timeout="1m", yields=Gone)


async def cancel_without_saying_why(bus: Bus) -> None:
    # mypy says: Missing named argument "reason"
    # pyright says: "reason"
    await bus.cancel(Fetch, "k", by="me")


async def signal_no_event(bus: Bus) -> None:
    # mypy says: incompatible type "str"; expected "Event"
    # pyright says: "Event"
    await bus.signal(Fetch, "k", "fetched")


class Odd:
    # mypy says: incompatible type
    # pyright says: is not assignable
    @query
    def progress(self) -> str:
        return ""
