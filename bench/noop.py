"""A saga whose participants do nothing and keep nothing: what is left is the framework.

``bench.noop:participants`` and ``bench.noop:coordinator`` are run as processes of their own.
"""

from typing import Never

from orchestra import (
    App,
    Command,
    Context,
    Coordinator,
    Done,
    Event,
    Key,
    Saga,
    Service,
    Undo,
    on_completed,
    pivot,
    starts_on,
    step,
)

WAIT = "1d"  # a live instance waits for a participant that is not there, and must not time out meanwhile


class Started(Event, type="bench.saga.started.v1", topic="bench.started"):
    run: Key[str]


class Finished(Event, type="bench.saga.finished.v1", topic="bench.finished"):
    run: Key[str]


class First(Command[Done, Never], type="bench.step.first.v1", topic="bench.commands"):
    run: Key[str]


class Second(Command[Done, Never], type="bench.step.second.v1", topic="bench.commands"):
    run: Key[str]


class Third(Command[Done, Never], type="bench.step.third.v1", topic="bench.commands"):
    run: Key[str]


class ThreeSteps(Saga, name="three-steps", version=1):
    """Three commands, each answered at once."""

    begin = starts_on(Started)

    @step(undo=Undo, timeout=WAIT)
    def first(self) -> First:
        return First(run=self.begin.run)

    @step(first, undo=Undo, timeout=WAIT)
    def second(self, done: Done) -> Second:
        return Second(run=self.begin.run)

    @pivot(second, timeout=WAIT)
    def third(self, done: Done) -> Third:
        return Third(run=self.begin.run)

    @on_completed(third)
    def finish(self, done: Done) -> Finished:
        return Finished(run=self.begin.run)


participants = Service("participants")


@participants.handles(First)
async def do_first(command: First, ctx: Context) -> Done:
    return Done()


@participants.handles(Second)
async def do_second(command: Second, ctx: Context) -> Done:
    return Done()


@participants.handles(Third)
async def do_third(command: Third, ctx: Context) -> Done:
    return Done()


@participants.handles(Undo[First])
async def undo_first(command: Undo[First], ctx: Context) -> Done:
    return Done()


@participants.handles(Undo[Second])
async def undo_second(command: Undo[Second], ctx: Context) -> Done:
    return Done()


# Above ten thousand live ones: `memory` wants them all to run.
coordinator = Coordinator("bench", flows=[ThreeSteps], max_running=2000)

everything = App(services=[participants], coordinators=[coordinator])


class Ticked(Event, type="bench.ticked.v1", topic="bench.ticks"):
    tick: Key[str]
    count: int
    tags: list[str]
