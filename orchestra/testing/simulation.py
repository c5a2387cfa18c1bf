"""How do I find out what my services and flows do when everything goes wrong at the worst moment?

    def test_no_order_is_half_done():
        Simulation(app, place_orders, check=money_is_kept).explore(seeds=500)

The whole app runs in memory and in virtual time: services, coordinators, the handlers with their data. A seed decides
what goes wrong: processes die between any two awaits or stand still and wake as zombies, partitions move, clocks jump,
brokers are away, records are late, repeated, lost, or stored without an answer; never what Kafka would not do. The same
seed is the same run, on any machine.
"""

from __future__ import annotations

import gc
import inspect
import itertools
import logging
import os
import random
import warnings
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final

from orchestra.app import App
from orchestra.coordinator.coordinator import Coordinator
from orchestra.errors import DefinitionError
from orchestra.ids import seeded_ids
from orchestra.service.service import Service
from orchestra.settings import Settings
from orchestra.testing.memory_database import all_databases
from orchestra.testing.simulation_check import check_all
from orchestra.testing.simulation_loop import SimulationLoop, current_scope
from orchestra.testing.simulation_plan import Fault, Horizon, Plan, draw_plan
from orchestra.testing.simulation_run import SETTINGS, Deployment, Director
from orchestra.testing.simulation_shrink import shrink
from orchestra.testing.simulation_story import digest_of, tell
from orchestra.testing.simulation_watch import Event, Violation, Watch
from orchestra.testing.simulation_world import World

Tale = Callable[[World], Awaitable[None]]
Check = Callable[[World], object]

_SEED: Final = "ORCHESTRA_SEED"
_COLLECT_EVERY: Final = 4
"""Runs after which what they left in circles is freed: by hand, for the collector would look at each piece again and
again; and soon, while the pieces are still in the processor's cache."""


class SimulationFailed(AssertionError):  # noqa: N818  a test fails with it
    """A run in which something was wrong. The text tells it whole.

    Attributes:
        run: the run, made as small as it would get.
        seed: repeats it as it was found.
    """

    def __init__(self, run: Run, seed: int, text: str) -> None:
        super().__init__(text)
        self.run = run
        self.seed = seed


@dataclass(frozen=True, slots=True)
class Run:
    """One run.

    Attributes:
        plan: what decided it.
        failure: what was wrong: a violated invariant, or what the story, a check or a handler's process raised. None:
            all was well.
        broke: the faults that happened, and to whom. Of those planned, some never have their turn.
        history: everything that happened, in order.
        messages: how many messages the story published.
        steps, records: how long it was.
    """

    plan: Plan
    failure: Exception | None
    broke: Sequence[tuple[Fault, str]]
    history: Sequence[Event]
    messages: int
    steps: int
    records: int

    @property
    def rule(self) -> str:
        """What was wrong, in a stable word or two; "" where nothing was."""
        if isinstance(self.failure, Violation):
            return self.failure.rule
        return "" if self.failure is None else type(self.failure).__name__

    @property
    def fails_at(self) -> str:
        """What was wrong, and where an error that is no violation was raised: equal for failures of the same kind."""
        trace = None if self.failure is None else self.failure.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        if trace is None or isinstance(self.failure, Violation):
            return self.rule
        return f"{self.rule} at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"

    @property
    def digest(self) -> str:
        """Equal for runs in which the same happened."""
        return digest_of(self.history)

    def story(self) -> str:
        """What happened, a line each: the time of day, who, what. Faults are marked with ``**``."""
        return tell(self.history)


@dataclass(frozen=True, slots=True)
class Explored:
    """What an exploration has seen: so many ``runs``, in which so many ``faults`` happened, and nothing was wrong."""

    runs: int
    faults: int


class Simulation:
    """An app, a story that uses it, and what must be true at the end.

    Args:
        app: what runs: an :class:`~orchestra.App`, or services and coordinators.
        story: an async function that is given the :class:`World`. It publishes, asks, waits.
        check: called with the world when a story is over and everything rests; raises AssertionError. One, or several.
            Beside them, the invariants of :mod:`orchestra.testing.simulation_check` are always checked.
        around: entered before each run and left after it: for data that must be fresh, such as SQLite files. A
            :class:`MemoryDatabase` is emptied by itself.
        settings: timeouts. Default: short ones.

    Handlers must take chance and time from the context, or from ``random``, which the seed sets; real I/O, threads and
    the machine's clock make a run that cannot be repeated, and are noticed when one fails.

    Raises:
        DefinitionError: the story is no async function.
    """

    def __init__(
        self,
        app: App | Service | Coordinator | Sequence[App | Service | Coordinator],
        story: Tale,
        *,
        check: Check | Sequence[Check] = (),
        around: Callable[[], AbstractContextManager[object]] = nullcontext,
        settings: Settings = SETTINGS,
    ) -> None:
        if not inspect.iscoroutinefunction(story):
            raise DefinitionError(f"Simulation(story={story!r}): write an async function that takes the world")
        self._app = App.of(app if isinstance(app, Sequence) else [app])
        self._tale = story
        self._checks: Sequence[Check] = check if isinstance(check, Sequence) else (check,)
        self._around = around
        self._settings = settings
        self._deployments: dict[int, Deployment] = {}
        self._horizon: Horizon | None = None

    # ---- what users call

    def explore(self, seeds: int = 500, *, first: int = 0) -> Explored:
        """Run so many seeds, from ``first`` on. The environment's ``ORCHESTRA_SEED=n`` runs that one seed instead.

        Raises:
            SimulationFailed: for the first seed in which something is wrong; made smaller, and told.
        """
        only = os.environ.get(_SEED)
        numbers = range(first, first + seeds) if only is None else [int(only)]
        faults = 0
        with _quiet():
            for seed in numbers:
                run = self._go(self.plan(seed))
                if seed % _COLLECT_EVERY == 0:
                    gc.collect()
                faults += len(run.broke)
                if run.failure is not None:
                    raise self._failed(run, seed) from run.failure
        return Explored(len(numbers), faults)

    def run(self, seed: int = 0, *, faults: Sequence[Fault] | None = None) -> Run:
        """One run, whatever comes of it.

        Args:
            seed: of all chance.
            faults: these go wrong, and not what the seed says.
        """
        with _quiet():
            plan = self.plan(seed) if faults is None else Plan(seed, tuple(faults))
            return self._go(plan)

    def repeat(self, plan: Plan) -> Run:
        """The run of a plan, such as that of a failure which was made smaller."""
        with _quiet():
            return self._go(plan)

    def plan(self, seed: int) -> Plan:
        """What a seed decides. Faults are spread over the length of a run in which nothing goes wrong."""
        if self._horizon is None:
            run = self._go(Plan(0))
            if run.failure is not None:
                raise self._failed(run, 0) from run.failure
            self._horizon = Horizon(run.steps, run.records)
        return draw_plan(seed, self._horizon)

    # ---- one run

    def _go(self, plan: Plan, *, is_told: bool = False) -> Run:
        for database in all_databases():
            database.clear()
        random.seed(plan.seed)
        ids = (f"id-{number}" for number in itertools.count(1))
        loop = SimulationLoop(plan.seed)  # type: ignore[abstract]  # the rest is never asked for
        failure: Exception | None = None
        with self._around(), seeded_ids(lambda: next(ids)):
            director = Director(self._deployment(plan.shards), plan, loop)
            world = World(director)
            with _logged(director.watch) if is_told else nullcontext():
                try:
                    loop.run(self._main(director, world))
                except Exception as error:  # whatever it is, it is what the seed has found
                    failure = error
                finally:
                    loop.close()
        return Run(plan, failure, director.broke, director.watch.history, world.messages, loop.steps, director.records)

    async def _main(self, director: Director, world: World) -> None:
        await world.open()
        await director.run(lambda: self._tale(world))
        check_all(director)
        for check in self._checks:
            check(world)

    def _deployment(self, shards: int) -> Deployment:
        if shards not in self._deployments:
            self._deployments[shards] = Deployment(self._app, shards, self._settings)
        return self._deployments[shards]

    # ---- a failure

    def _failed(self, found: Run, seed: int) -> SimulationFailed:
        repeats = self._go(found.plan).digest == found.digest
        small = shrink(found, self._go) if repeats else found
        told = self._go(small.plan, is_told=True)
        lines = [
            f"seed {seed}: {type(found.failure).__name__}: {told.failure or found.failure}",
            "",
            told.story(),
            "",
            f"Repeat it with {_SEED}={seed}. Found with {len(found.broke)} faults and {found.messages} messages; told "
            f"with {len(told.broke)} and {told.messages - len(told.plan.without)}:",
            *(f"  {fault} ({who})" for fault, who in told.broke),
        ]
        if not repeats:
            lines.append(
                "It does not take the same course twice: something in it asks the machine for time, chance, ids or I/O."
            )
        return SimulationFailed(told if told.failure is not None else found, seed, "\n".join(lines))


@contextmanager
def _quiet() -> Generator[None]:
    """No log lines, the caller's chance untouched, and the collector kept from what was there before."""
    disabled, state = logging.root.manager.disable, random.getstate()
    logging.disable(logging.CRITICAL)
    collects = gc.isenabled()
    gc.freeze()
    gc.disable()
    try:
        with warnings.catch_warnings():
            # What a process that died had borrowed, it does not give back.
            warnings.filterwarnings("ignore", message="The garbage collector is trying to clean up")
            yield
            gc.collect()
    finally:
        if collects:
            gc.enable()
        gc.unfreeze()
        random.setstate(state)
        logging.disable(disabled)


class _ToHistory(logging.Handler):
    """Log lines as a part of what happened."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.WARNING)
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        scope = current_scope()
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text = f"{text}: {record.exc_info[1]!r}"
        self._watch.say("" if scope is None else scope.name, f"({text})")


@contextmanager
def _logged(watch: Watch) -> Generator[None]:
    """What orchestra warns of stands in the history."""
    logger, handler = logging.getLogger("orchestra"), _ToHistory(watch)
    propagates, logger.propagate = logger.propagate, False
    logging.disable(logging.NOTSET)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates
        logging.disable(logging.CRITICAL)


__all__ = ["Explored", "Fault", "Plan", "Run", "Simulation", "SimulationFailed", "World"]
