"""Flows whose methods do what they must not."""

from __future__ import annotations

import random
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

from orchestra import Command, Done, Event, Flow, Key, Saga, Undo, on_completed, starts_on, step
from tests.unit.flows.kinds import Began, Do, Ended, No


class Tagged(Command[Done, No], type="impure.tagged.v1", topic="kinds.commands"):
    id: Key[str]
    tag: str


class Counted(Event, type="impure.counted.v1", topic="kinds"):
    id: Key[str]
    currency: str


class Dices(Saga, name="impure-dices"):
    began = starts_on(Began)

    @step(undo=Undo)
    def first(self) -> Tagged:
        return Tagged(id=self.began.id, tag=str(uuid.uuid4()))

    @step(first, undo=Undo)
    def second(self, first: Done) -> Tagged:
        return Tagged(id=self.began.id, tag=random.choice("ab"))

    @step(second, undo=Undo)
    def third(self, second: Done) -> Tagged:
        return Tagged(id=self.began.id, tag=str(datetime.now(UTC)))


calls: list[int] = []


class Remembers(Saga, name="impure-remembers"):
    began = starts_on(Began)

    @step(undo=Undo)
    def counts(self) -> Tagged:
        calls.append(1)
        return Tagged(id=self.began.id, tag=str(len(calls)))

    @step(undo=Undo)
    def reads(self) -> Tagged:
        return Tagged(id=self.began.id, tag=Path(__file__).read_text()[:9])

    @on_completed
    def over(self) -> Ended:
        return Ended(id=str(time.time()))


RATES = {"EUR": 1}


class Raises(Flow, name="impure-raises"):
    counted = starts_on(Counted)

    @step(kind="read_only")
    def looks_up(self) -> Do:
        return Do(id=str(RATES[self.counted.currency]))
