"""Seeds of trouble for a service alone: nothing is lost, keys keep their order, and answers given twice are alike.

With each way to keep a key's order, whatever happens to processes, brokers and records in between.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from orchestra.errors import PermanentError, TransientError
from orchestra.events.message import Command, Event, Key
from orchestra.retry import Order, Retry
from orchestra.service.context import Context
from orchestra.service.service import Service
from orchestra.testing import Simulation, World

KEYS, COMMANDS = 5, 30
POISON = frozenset({7, 22})
STUBBORN = {3: 1, 8: 2, 12: 3, 13: 1, 17: 2, 25: 3}
"""Number -> tries that fail."""

ended: dict[str, list[int]] = defaultdict(list)
"""Key -> the numbers that were handled, in order, repeats included."""


class Reserved(Event, type="stock.reserved.v1", topic="stock.events"):
    order_id: Key[str]
    number: int


class SoldOut(Event, type="stock.sold-out.v1", topic="stock.events"):
    order_id: Key[str]


class Reserve(Command[Reserved, SoldOut], type="stock.reserve.v1", topic="stock.commands"):
    order_id: Key[str]
    number: int


def stock(retry: Retry) -> Service:
    service = Service("stock", max_in_flight=8, dead_letter_budget=None)

    @service.handles(Reserve, retry=retry, timeout="30s")
    async def reserve(command: Reserve, ctx: Context) -> Reserved | SoldOut:
        await asyncio.sleep(random.random())
        if command.number in POISON:
            raise PermanentError("poison")
        if ctx.attempt <= STUBBORN.get(command.number, 0):
            raise TransientError("not now")
        if random.random() < 0.05:
            raise ConnectionResetError
        ended[command.order_id].append(command.number)
        return Reserved(order_id=command.order_id, number=command.number)

    return service


async def many_commands(world: World) -> None:
    for number in range(COMMANDS):
        await world.publish(Reserve(order_id=f"key-{number % KEYS}", number=number), id=f"command-{number}")
        if number % 10 == 0:
            await world.sleep(f"{world.random.randint(1, 5)}s")


def nothing_is_lost(world: World) -> None:
    handled = {number for numbers in ended.values() for number in numbers}
    assert handled == set(range(COMMANDS)) - POISON
    letters = {letter.header("ce_id") for letter in world.dead_letters("stock")}
    assert letters == {f"command-{number}".encode() for number in POISON}


def what_is_answered_twice_is_answered_alike(world: World) -> None:
    said: dict[str, set[bytes | None]] = defaultdict(set)
    for event in world.events("stock.events"):
        said[event.id].add(event.data)
    assert all(len(answers) == 1 for answers in said.values())
    assert len(said) == COMMANDS - len(POISON), "one id for one answer"


def first_times_are_in_order(world: World) -> None:
    for key, numbers in ended.items():
        first_times = list(dict.fromkeys(numbers))
        assert first_times == sorted(first_times), f"{key}: {numbers}"


@contextmanager
def nothing_handled_yet() -> Iterator[None]:
    ended.clear()
    yield


def simulated(retry: Retry, *more: Any) -> Simulation:
    checks = [nothing_is_lost, what_is_answered_twice_is_answered_alike, *more]
    return Simulation(stock(retry), many_commands, check=checks, around=nothing_handled_yet)


def later(order: Order) -> Retry:
    return Retry(attempts=2, first="100ms", later=("5s", "30s"), order=order)


@pytest.mark.parametrize(
    "simulation",
    [
        pytest.param(simulated(Retry(attempts=20, first="100ms", cap="1s"), first_times_are_in_order), id="in place"),
        pytest.param(simulated(later("divert_key"), first_times_are_in_order), id="diverted"),
        pytest.param(simulated(later("unordered")), id="unordered"),
    ],
)
def test_nothing_is_lost_and_order_is_kept_per_key(simulation: Simulation) -> None:
    simulation.explore(25)


def test_it_is_a_real_test_of_order() -> None:
    """With order given up, it is lost: else the others prove nothing."""
    run = simulated(later("unordered"), first_times_are_in_order).run(faults=[])

    assert "key-" in str(run.failure)
