"""A service and two sagas that do as a case tells them: raise, hang, answer wrongly, grow too large."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Never, cast

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from orchestra import (
    Command,
    Context,
    Coordinator,
    Event,
    Failure,
    Flow,
    Key,
    Retry,
    Saga,
    Service,
    create_ledger_tables,
    on_compensated,
    on_completed,
    sqlite_engine,
    starts_on,
    step,
    wait_for,
)


class CaseOpened(Event, type="bad.case.opened.v1", topic="bad.cases"):
    case: Key[str]
    what: str = "fine"


class QuestionOpened(Event, type="bad.question.opened.v1", topic="bad.cases"):
    case: Key[str]


class BellRang(Event, type="bad.bell.rang.v1", topic="bad.cases"):
    """Has no data at all."""


class CaseClosed(Event, type="bad.case.closed.v1", topic="bad.endings"):
    case: Key[str]


class CaseFailed(Event, type="bad.case.failed.v1", topic="bad.endings"):
    case: Key[str]
    reason: str


class WorkDone(Event, type="bad.work.done.v1"):
    text: str = ""


class WorkRefused(Event, type="bad.work.refused.v1"):
    reason: str


class WorkUndone(Event, type="bad.work.undone.v1"):
    pass


class DoWork(Command[WorkDone, WorkRefused], type="bad.work.do.v1", topic="bad.commands"):
    case: Key[str]
    what: str = "fine"


class UndoWork(Command[WorkUndone, Never], type="bad.work.undo.v1", topic="bad.commands"):
    case: Key[str]


class Answered(Event, type="bad.question.answered.v1"):
    text: str


class Ask(Command[Answered, WorkRefused], type="bad.question.ask.v1", topic="bad.questions"):
    """Nobody here handles it: the test answers."""

    case: Key[str]


class Case(Saga, name="case", version=1):
    """One step; it goes as the case says."""

    opened = starts_on(CaseOpened)

    @step(timeout="20s")
    def work(self) -> DoWork:
        if self.opened.what == "flow raises":
            raise RuntimeError("this flow has a mistake")
        return DoWork(case=self.opened.case, what=self.opened.what)

    @work.undo
    def undo_work(self, done: WorkDone | None) -> UndoWork:
        return UndoWork(case=self.opened.case)

    @on_completed(work)
    def close(self, done: WorkDone) -> CaseClosed:
        return CaseClosed(case=self.opened.case)

    @on_compensated
    def fail(self, failure: Failure) -> CaseFailed:
        return CaseFailed(case=self.opened.case, reason=f"{failure.step}: {failure.reason}")


class Question(Saga, name="question", version=1):
    """One step that waits for the test's answer."""

    opened = starts_on(QuestionOpened)

    @step(kind="read_only", timeout="1h")
    def ask(self) -> Ask:
        return Ask(case=self.opened.case)

    @on_completed(ask)
    def close(self, answer: Answered) -> CaseClosed:
        return CaseClosed(case=self.opened.case)


class VisitOpened(Event, type="bad.visit.opened.v1", topic="bad.cases"):
    case: Key[str]


class Knocked(Event, type="bad.knocked.v1", topic="bad.cases"):
    case: Key[str]
    times: int = 1


class Visit(Flow, name="visit", version=1):
    """Somebody knocks, and it is over."""

    opened = starts_on(VisitOpened)

    knocked = wait_for(Knocked, timeout="1h")

    @on_completed(knocked)
    def close(self, knocked: Knocked) -> CaseClosed:
        return CaseClosed(case=self.opened.case)


worker = Service("worker", dead_letter_budget=None)


@worker.resource
async def engine() -> AsyncIterator[AsyncEngine]:
    opened = sqlite_engine(os.environ["BAD_CASES_DATABASE"])
    await create_ledger_tables(opened)
    try:
        yield opened
    finally:
        await opened.dispose()


@worker.resource(scope="call")
async def open_session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    async with AsyncSession(engine) as session:
        yield session


@worker.handles(DoWork, retry=Retry(attempts=2, first="10ms", cap="10ms"), timeout="500ms")
async def do_work(command: DoWork, ctx: Context, session: AsyncSession) -> WorkDone | WorkRefused:
    async with ctx.effect(session, command) as effect:
        if effect.outcome is not None:
            return effect.outcome
        match command.what:
            case "handler raises":
                raise RuntimeError("this handler has a mistake")
            case "handler hangs":
                await asyncio.sleep(3600)
            case "handler answers wrongly":
                return effect.done(cast("WorkDone", CaseClosed(case=command.case)))
            case "reply is too large":
                return effect.done(WorkDone(text="x" * 200_000))
        return effect.done(WorkDone())


@worker.handles(UndoWork)
async def undo_work(command: UndoWork, ctx: Context, session: AsyncSession) -> WorkUndone:
    async with ctx.effect(session, command) as effect:
        return effect.outcome or effect.done(WorkUndone())


@worker.on(CaseOpened)
async def note_case(event: CaseOpened, ctx: Context) -> None: ...


@worker.on(BellRang)
async def hear_bell(event: BellRang, ctx: Context) -> CaseClosed:
    return CaseClosed(case=ctx.event.id)


cases = Coordinator("cases", flows=[Case, Question, Visit], partitions=4, early="3s")
