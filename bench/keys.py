"""Does anything stay behind of a key that has passed? A million of them, each once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from bench.bench import Bench
from bench.contestant import ours, turn
from bench.figures import Figure
from bench.filling import Made, fill
from bench.plain import event

ALLOWED_MB = 8.0
"""Eight bytes of each key would be seen."""


async def keys(bench: Bench) -> list[Figure]:
    count = bench.some(1_000_000)
    filled = await fill(bench.servers, f"{bench.name}-keys", _ticks(count))
    async with turn(bench, ours("ticks", "ticks"), filled, "keys", BENCH_WATCH="growth") as at_work:
        told = await at_work.told()
    resident: list[float] = told["resident_mb"]
    part = max(1, len(resident) // 5)
    # Of each fifth the smallest: what is above it comes and goes with what has been fetched.
    first, last = min(resident[part : 2 * part] or resident), min(resident[-part:])
    return [
        Figure(
            "a million keys: memory left behind", last - first, "MB", ALLOWED_MB, note=f"{first:.0f} -> {last:.0f} MB"
        ),
        Figure("a million keys: largest", max(resident), "MB"),
        Figure("a million keys: not handled", count - told["handled"], "", 0, note=f"n={count}"),
    ]


def _ticks(count: int) -> Iterable[Made]:
    at = datetime.now(UTC).isoformat()
    for number in range(count):
        key = b"tick-%08d" % number
        yield key, *event("bench.ticked.v1", f"{number}", b'{"tick":"%b","count":%d,"tags":["a"]}' % (key, number), at)
