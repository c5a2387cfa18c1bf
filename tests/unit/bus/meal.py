"""A meal that is cooked and collected: a flow that ends, fails, waits and answers questions."""

from __future__ import annotations

import asyncio

from orchestra import (
    Command,
    Done,
    Event,
    Failure,
    FlowView,
    Key,
    Retry,
    Saga,
    Service,
    Undo,
    on_compensated,
    on_completed,
    query,
    starts_on,
    step,
    wait_for,
)


class Placed(Event, type="meal.placed.v1", topic="meal.orders"):
    order_id: Key[str]
    dishes: int = 1
    wishes: str = ""


class Cooked(Event, type="meal.cooked.v1"):
    minutes: int


class Burnt(Event, type="meal.burnt.v1"):
    pass


class Cook(Command[Cooked, Burnt], type="meal.cook.v1", topic="meal.commands"):
    order_id: Key[str]


class Collected(Event, type="meal.collected.v1", topic="meal.counter"):
    order_id: Key[str]
    by: str = "guest"


class Served(Event, type="meal.served.v1", topic="meal.ends"):
    order_id: Key[str]
    to: str
    note: str = ""


class Sorry(Event, type="meal.sorry.v1", topic="meal.ends"):
    order_id: Key[str]
    reason: str


class Meal(Saga, name="meal", version=1):
    """Cook it, and wait until somebody collects it."""

    placed = starts_on(Placed)

    @step(undo=Undo, timeout="1h")
    def cook(self) -> Cook:
        return Cook(order_id=self.placed.order_id)

    collected = wait_for(Collected, after=cook, timeout="2h")

    @on_completed(collected)
    def served(self, collected: Collected) -> Served:
        return Served(order_id=self.placed.order_id, to=collected.by)

    @on_compensated
    def sorry(self, failure: Failure) -> Sorry:
        return Sorry(order_id=self.placed.order_id, reason=failure.reason)

    @query
    def progress(self, view: FlowView) -> str:
        if view.status.is_final:
            return f"over: {view.status}"
        cooked = view.reply(Meal.cook)
        return f"{self.placed.dishes} dishes, {'in work' if cooked is None else f'{cooked.minutes} minutes'}"

    @query
    def minutes(self, view: FlowView) -> int | None:
        cooked = view.reply(Meal.cook)
        return None if cooked is None else cooked.minutes

    @query
    def mistaken(self, view: FlowView) -> int:
        return {"one": 1}["no such thing"]

    @query
    def where(self, view: FlowView) -> tuple[str, list[str]]:
        return view.step(Meal.cook).status, list(view.waits_for)


class Silent(Saga, name="silent", version=1):
    """Says nothing at its end."""

    placed = starts_on(Placed)

    @step(undo=Undo)
    def cook(self) -> Cook:
        return Cook(order_id=self.placed.order_id)


class Kitchen:
    """How long it takes, and what comes of it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.burns = False
        self.service = Service("kitchen")

        @self.service.handles(Cook, timeout="1h", retry=Retry(attempts=1))
        async def cook(command: Cook) -> Cooked | Burnt:
            await asyncio.sleep(self.seconds)
            return Burnt() if self.burns else Cooked(minutes=7)

        @self.service.handles(Undo[Cook])
        async def throw_away(command: Undo[Cook]) -> Done:
            return Done()
