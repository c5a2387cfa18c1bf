"""What do lanes gain where a handler waits? One that sleeps for 20 ms, with one lane and with 64."""

from __future__ import annotations

from bench.bench import Bench
from bench.contestant import Contestant, ours, turn
from bench.contestants import order
from bench.figures import Figure
from bench.filling import fill, numbered


async def slow(bench: Bench) -> list[Figure]:
    one = await _rate(bench, ours("one", "slow_one"), bench.some(300))
    many = await _rate(bench, ours("many", "slow_many"), bench.some(15_000))
    return [
        Figure("slow handler (20 ms): 1 lane", one, "/s"),
        Figure("slow handler (20 ms): 64 lanes", many, "/s"),
        Figure("slow handler (20 ms): 64 lanes / 1 lane", many / one, "times", 45, "higher"),
    ]


async def _rate(bench: Bench, contestant: Contestant, count: int) -> float:
    filled = await fill(bench.servers, f"{bench.name}-slow-{contestant.name}", numbered(count, order.key, order.binary))
    async with turn(bench, contestant, filled, "slow") as at_work:
        told = await at_work.told()
    return float(told["records"] / told["seconds"])
