"""A service and a saga that do as a case tells them: raise, hang, answer wrongly, grow too large."""

from __future__ import annotations

import asyncio
from typing import cast

from orchestra import (
    Command,
    Context,
    Coordinator,
    Event,
    Failure,
    Key,
    Retry,
    Saga,
    Service,
    on_compensated,
    on_completed,
    starts_on,
    step,
)


class CaseOpened(Event, type="bad.case.opened.v1", topic="bad.cases"):
    case: Key[str]
    what: str = "fine"


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
    what: str


class UndoWork(Command[WorkUndone, WorkRefused], type="bad.work.undo.v1", topic="bad.commands"):
    case: Key[str]
    what: str


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
        return UndoWork(case=self.opened.case, what=self.opened.what)

    @on_completed(work)
    def close(self, done: WorkDone) -> CaseClosed:
        return CaseClosed(case=self.opened.case)

    @on_compensated
    def fail(self, failure: Failure) -> CaseFailed:
        return CaseFailed(case=self.opened.case, reason=f"{failure.step}: {failure.reason}")


worker = Service("worker")


@worker.handles(DoWork, retry=Retry(attempts=2, first="10ms", cap="10ms"), timeout="500ms")
async def do_work(command: DoWork, ctx: Context) -> WorkDone | WorkRefused:
    match command.what:
        case "handler raises":
            raise RuntimeError("this handler has a mistake")
        case "handler hangs":
            await asyncio.sleep(3600)
        case "handler answers wrongly":
            return cast("WorkDone", CaseClosed(case=command.case))
        case "reply is too large":
            return WorkDone(text="x" * 200_000)
        case "refused":
            return WorkRefused(reason="as the case says")
    return WorkDone()


@worker.handles(UndoWork)
async def undo_work(command: UndoWork, ctx: Context) -> WorkUndone:
    return WorkUndone()


@worker.on(CaseOpened)
async def note_case(event: CaseOpened, ctx: Context) -> None: ...


cases = Coordinator("cases", flows=[Case], partitions=4)
