"""Where do the microseconds of a record go? ``python -m bench.profile``: the typed handler, in this process.

Four passes over one filled topic, each with a group of its own:

1. plain aiokafka, and 2. orchestra, with nothing attached: the CPU time that all else is measured against;
3. orchestra with a sampler: every millisecond, what is being run? It costs next to nothing, and so tells where the
   time goes. C code counts for the Python function that called it. Python answers at its next call, so a function may
   pay for the few instructions before it: believe the stages, and of the functions only the large ones;
4. orchestra under cProfile: which functions are called how often for each record? It slows down every call, so its
   times mislead, but its counts are exact, and it knows C functions by name.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import logging
import pstats
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CodeType, FrameType
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from bench.broker import kafka
from bench.contestants import aiokafka_loop, order
from bench.contestants.counting import counting
from bench.contestants.watch import Watch
from bench.filling import Filled, fill, numbered
from orchestra.cli.cluster import connected
from orchestra.cli.serve import spare_the_collector
from orchestra.service.runtime import ServiceRuntime
from orchestra.settings import Settings

TOPIC = "bench-profile"
SAMPLE_SECONDS = 0.001

# The innermost frame of a file that is named here tells the stage; other files belong to whoever called them.
STAGES: tuple[tuple[str, str], ...] = (
    ("/aiokafka/consumer/group_coordinator", "commit, heartbeat"),
    ("/aiokafka/", "fetch: aiokafka"),
    ("/orchestra/transport/kafka/places", "commit, heartbeat"),
    ("/orchestra/transport/", "fetch: ours, to records"),
    ("/orchestra/events/message", "validate"),
    ("/pydantic/", "validate"),
    ("/orchestra/events/", "decode: CloudEvents"),
    ("/orchestra/service/lanes", "lanes"),
    ("/orchestra/service/runtime", "fetch loop, admit"),
    ("/orchestra/service/assignment", "fetch loop, admit"),
    ("/orchestra/service/offsets", "offsets"),
    ("/orchestra/service/committing", "commit, heartbeat"),
    ("/orchestra/service/", "pass: route, context, call"),
    ("/bench/contestants/", "the handler (counting)"),
)
LOOP = "event loop"
K = TypeVar("K")


class Sampler:
    """Sees, at each tick of a clock, what is being run, and what CPU time has passed since the tick before.

    So a tick that waited until the process was given a processor again counts next to nothing. A timer on the process's
    own CPU clock would ring only as often as the kernel's scheduler ticks. ``toggle`` begins it, and ends it.
    """

    def __init__(self) -> None:
        self.stages: defaultdict[str, float] = defaultdict(float)
        self.functions: defaultdict[CodeType, float] = defaultdict(float)
        self.collecting = 0.0
        """Seconds in the garbage collector; they are in the stages too."""
        self._is_on = False
        self._cpu = 0.0
        self._collecting_since = 0.0

    def toggle(self) -> None:
        self._is_on = not self._is_on
        self._cpu = time.process_time()
        if self._is_on:
            gc.callbacks.append(self._on_collection)
            signal.signal(signal.SIGALRM, self._tick)
        else:
            gc.callbacks.remove(self._on_collection)
        signal.setitimer(signal.ITIMER_REAL, SAMPLE_SECONDS * self._is_on, SAMPLE_SECONDS * self._is_on)

    def _tick(self, _: int, frame: FrameType | None) -> None:
        before, self._cpu = self._cpu, time.process_time()
        if frame is not None:
            self.functions[frame.f_code] += self._cpu - before
            self.stages[stage_of(frame)] += self._cpu - before

    def _on_collection(self, phase: str, _: object) -> None:
        if phase == "start":
            self._collecting_since = time.process_time()
        else:
            self.collecting += time.process_time() - self._collecting_since


def stage_of(frame: FrameType | None) -> str:
    while frame is not None:
        name = frame.f_code.co_filename
        for part, stage in STAGES:
            if part in name:
                return stage
        frame = frame.f_back
    return LOOP


class Tracer:
    """cProfile between the two looks."""

    def __init__(self) -> None:
        self.profile = cProfile.Profile()
        self._is_on = False

    def toggle(self) -> None:
        self._is_on = not self._is_on
        if self._is_on:
            self.profile.enable()
        else:
            self.profile.disable()


async def raw(servers: str, filled: Filled) -> float:
    """Microseconds a record."""
    watch = Watch(filled.count, filled.count // 6)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch.wait_done())
        await aiokafka_loop.consume(servers, filled.topic, "profile-raw", watch)
    return us_of(watch)


async def ours(servers: str, filled: Filled, label: str, lanes: int, on_look: Callable[[], object]) -> float:
    """Microseconds a record."""
    settings = Settings(bootstrap_servers=servers, namespace=f"profile-{label}", topics={"bench.orders": filled.topic})

    watch = Watch(filled.count, filled.count // 6, on_look=on_look)
    async with connected(settings) as transport, asyncio.TaskGroup() as tasks:
        runtime = ServiceRuntime(counting("profiled", lanes, watch), transport, settings)
        running = tasks.create_task(runtime.run())
        await watch.wait_done()
        runtime.stop()
        await running
    return us_of(watch)


def us_of(watch: Watch) -> float:
    told = watch.told()
    assert told["distinct"] == told["handled"], told
    return float(str(told["cpu_seconds"])) / float(str(told["records"])) * 1e6


async def profile(servers: str, console: Console, arguments: argparse.Namespace) -> None:
    make = order.structured if arguments.structured else order.binary
    filled = await fill(servers, TOPIC, numbered(arguments.records, order.key, make))
    sampler, tracer = Sampler(), Tracer()
    base = await raw(servers, filled)
    spare_the_collector()  # as `orchestra run` does
    us = await ours(servers, filled, "plain", arguments.lanes, lambda: None)
    await ours(servers, filled, "sampled", arguments.lanes, sampler.toggle)
    console.print(
        f"plain aiokafka with json {base:.1f} us CPU a record, orchestra {us:.1f}: {us / base:.2f} times",
        highlight=False,
    )
    show_samples(sampler, us, console, arguments.top)
    if arguments.calls:
        await ours(servers, filled, "traced", arguments.lanes, tracer.toggle)
        show_calls(tracer, filled.count - filled.count // 6, console, arguments.top)
        if arguments.dump:
            tracer.profile.dump_stats(arguments.dump)


def show_samples(sampler: Sampler, us: float, console: Console, top: int) -> None:
    total = sum(sampler.stages.values())
    stages = Table(title="where the CPU time goes", title_style="bold")
    functions = Table(title="functions, with the C code that they call", title_style="bold")
    for table, what in ((stages, "stage"), (functions, "function")):
        table.add_column(what)
        table.add_column("us a record", justify="right")
        table.add_column("share", justify="right")
    for stage, cpu in _largest(sampler.stages):
        stages.add_row(stage, f"{cpu / total * us:.2f}", f"{cpu / total:.0%}")
    stages.add_section()
    collecting = sampler.collecting / total
    stages.add_row("(in them: the garbage collector)", f"{collecting * us:.2f}", f"{collecting:.0%}")
    for code, cpu in _largest(sampler.functions)[:top]:
        functions.add_row(f"{place(code)} {code.co_qualname}", f"{cpu / total * us:.2f}", f"{cpu / total:.0%}")
    console.print(stages)
    console.print(functions)


def _largest(counted: Mapping[K, float]) -> list[tuple[K, float]]:
    return sorted(counted.items(), key=lambda item: -item[1])


def show_calls(tracer: Tracer, records: int, console: Console, top: int) -> None:
    table = Table(title="under cProfile: calls are exact, times are too large", title_style="bold")
    table.add_column("function")
    for column in ("calls a record", "own us a record"):
        table.add_column(column, justify="right")
    stats: dict[tuple[str, int, str], tuple[int, int, float, float, object]]
    stats = pstats.Stats(tracer.profile).stats  # type: ignore[attr-defined]  # not in its stubs
    for (file, _, name), (_, calls, own, _, _) in sorted(stats.items(), key=lambda item: -item[1][2])[:top]:
        where = "C" if file == "~" else "/".join(file.split("/")[-2:])
        table.add_row(f"{where} {name}", f"{calls / records:.2f}", f"{own / records * 1e6:.2f}")
    console.print(table)


def place(code: CodeType) -> str:
    return "/".join(code.co_filename.split("/")[-2:])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=120_000, help="default: 120000")
    parser.add_argument("--lanes", type=int, default=64, help="default: 64")
    parser.add_argument("--structured", action="store_true", help="CloudEvents in structured mode")
    parser.add_argument("--top", type=int, default=25, help="so many functions")
    parser.add_argument("--no-calls", dest="calls", action="store_false", help="without the pass under cProfile")
    parser.add_argument("--dump", help="write cProfile's statistics to this file")
    arguments = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    console = Console(width=None if sys.stdout.isatty() else 130)
    folder = Path(tempfile.mkdtemp(prefix="orchestra-bench-"))
    try:
        with kafka(folder, console) as servers:
            asyncio.run(profile(servers, console, arguments))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
