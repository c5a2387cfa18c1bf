"""What does it cost to consume? Plain aiokafka, orchestra and FastStream, with the same orders on the same broker.

Each contestant is a process of its own, with a group of its own, that reads a topic from its beginning to its end. They
take turns, for several rounds, so that a noisy moment of the machine meets all of them; a ratio is always one of the
same round. ``contestants/watch.py`` says what is counted as the cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Literal

from bench.bench import Bench
from bench.contestant import Contestant, ours, theirs, turn
from bench.contestants import order
from bench.figures import Figure
from bench.filling import Filled, fill, numbered
from bench.plain import committed

ROUNDS = 3


RAW = theirs("raw aiokafka, json", "aiokafka_loop")
OURS = ours("orchestra, binary, 64 lanes", "many_lanes")
PEER = theirs("FastStream, default", "faststream_app", BENCH_ACK="default")
SAFE_PEER = theirs("FastStream, at least once", "faststream_app", BENCH_ACK="at-least-once")

TOPICS = {
    RAW: "binary",
    ours("orchestra, binary, 1 lane", "one_lane"): "binary",
    OURS: "binary",
    PEER: "binary",
    SAFE_PEER: "few",
    ours("orchestra, structured, 1 lane", "one_lane"): "structured",
    ours("orchestra, structured, 64 lanes", "many_lanes"): "structured",
}
"""Contestant -> what it reads: binary, structured, or few records for those who are slow.

In this order they take their turns: those whose ratio has a target are next to each other.
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One contestant in one round.

    Attributes:
        us: microseconds of CPU a record.
        rate: records a second.
        lost: keys that it never handled.
        duplicates: records that it handled again.
        uncommitted: records that the group would get again, or not at all, after a restart.
    """

    us: float
    rate: float
    lost: int
    duplicates: int
    uncommitted: int


async def consuming(bench: Bench) -> list[Figure]:
    """Everybody. Takes five minutes on two quiet cores."""
    topics = await _fill(bench, ("binary", "structured", "few"), bench.some(200_000))
    return figures(await _take_turns(bench, tuple(TOPICS), topics, 1 if bench.quick else ROUNDS))


async def pace(bench: Bench) -> list[Figure]:
    """Only plain aiokafka and orchestra, in more rounds: for whoever works on the hot path. Takes a minute."""
    topics = await _fill(bench, ("binary",), bench.some(60_000))
    runs = await _take_turns(bench, (RAW, OURS), topics, 3 if bench.quick else 7)
    return [*_costs(runs), _against_raw(runs), *_faults(runs)]


async def _take_turns(
    bench: Bench, contestants: Sequence[Contestant], topics: Mapping[str, Filled], rounds: int
) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {contestant.name: [] for contestant in contestants}
    for number in range(1, rounds + 1):
        begun = time.perf_counter()
        for contestant in contestants:
            with bench.console.status(f"round {number} of {rounds}: {contestant.name}"):
                runs[contestant.name].append(await run(bench, contestant, topics[TOPICS[contestant]], f"round{number}"))
        us = ", ".join(f"{several[-1].us:.1f}" for several in runs.values())
        bench.say(f"round {number} of {rounds}: {time.perf_counter() - begun:.0f} s; us CPU a record: {us}")
    return runs


async def _fill(bench: Bench, wanted: Collection[str], many: int) -> dict[str, Filled]:
    few = bench.some(10_000)
    made = {"binary": (many, order.binary), "structured": (many, order.structured), "few": (few, order.binary)}
    return {
        name: await fill(bench.servers, f"{bench.name}-{name}", numbered(count, order.key, make))
        for name, (count, make) in made.items()
        if name in wanted
    }


async def run(bench: Bench, contestant: Contestant, filled: Filled, label: str) -> Run:
    """One turn, from its start until it has committed and ended."""
    async with turn(bench, contestant, filled, label) as at_work:
        told = await at_work.told()
    return Run(
        us=told["cpu_seconds"] / told["records"] * 1e6,
        rate=told["records"] / told["seconds"],
        lost=filled.count - told["distinct"],
        duplicates=told["handled"] - told["distinct"],
        uncommitted=abs(filled.count - await committed(bench.servers, at_work.group)),
    )


# ---- what is made of the runs


def figures(runs: Mapping[str, Sequence[Run]]) -> list[Figure]:
    """CPU and rate of each contestant, the ratios that have a target, and what must be zero."""
    return [
        *_costs(runs),
        _against_raw(runs),
        _ratio("consuming: CPU, FastStream default / ours", runs[PEER.name], runs[OURS.name], 4.5, "higher"),
        _ratio("consuming: CPU, FastStream at least once / ours", runs[SAFE_PEER.name], runs[OURS.name], 25, "higher"),
        *_faults(runs),
    ]


def _against_raw(runs: Mapping[str, Sequence[Run]]) -> Figure:
    return _ratio("consuming: CPU, ours / raw", runs[OURS.name], runs[RAW.name], 1.7, "lower")


def _faults(runs: Mapping[str, Sequence[Run]]) -> list[Figure]:
    """What must be zero, each contestant's in the note."""

    def total(name: str, of: Callable[[Run], int]) -> Figure:
        counts = {who: sum(map(of, several)) for who, several in runs.items()}
        guilty = ", ".join(f"{who}: {count}" for who, count in counts.items() if count)
        return Figure(f"consuming: {name}", sum(counts.values()), "", 0, note=guilty or "every contestant")

    return [
        total("records lost", lambda each: each.lost),
        total("records handled twice", lambda each: each.duplicates),
        total("committed offsets off the end", lambda each: each.uncommitted),
    ]


def _costs(runs: Mapping[str, Sequence[Run]]) -> list[Figure]:
    return [_cost(name, several, runs[RAW.name]) for name, several in runs.items()]


def _cost(name: str, several: Sequence[Run], raw: Sequence[Run]) -> Figure:
    us = [each.us for each in several]
    ratios = [each.us / base.us for each, base in zip(several, raw, strict=True)]
    note = f"{median(each.rate for each in several):,.0f}/s"
    if several is not raw:
        note += f", {spread(ratios)} x raw"
    details = {"rounds": [asdict(each) for each in several], "times_raw": ratios}
    cost = median(us) / 10  # 1 us is 0.1 s for 100,000
    return Figure(f"consuming: {name}", cost, "CPU s/100k", note=note, details=details)


def _ratio(
    name: str, above: Sequence[Run], below: Sequence[Run], target: float, better: Literal["lower", "higher"]
) -> Figure:
    ratios = [each.us / base.us for each, base in zip(above, below, strict=True)]
    least = min(each.us for each in above) / min(each.us for each in below)  # noise only ever adds
    note = f"rounds {min(ratios):.2f}-{max(ratios):.2f}; least / least {least:.2f}"
    return Figure(name, median(ratios), "times", target, better, note, {"rounds": ratios})


def spread(values: Sequence[float]) -> str:
    """The median, and between which values the others lie."""
    return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})"
