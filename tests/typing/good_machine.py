"""What must type-check of a state machine, without a cast, and be revealed as what it is."""

from datetime import datetime, timedelta
from typing import Never, assert_type

from orchestra import (
    Approval,
    Command,
    Data,
    Event,
    Failure,
    Flow,
    Key,
    Retry,
    State,
    StateMachine,
    on_completed,
    on_started,
    starts_on,
    state,
    step,
)
from orchestra.flows.machine.state import Child, On, OnNothing, Question, Sending


class Opened(Event, type="typing.opened.v1", topic="typing"):
    id: Key[str]


class Scanned(Event, type="typing.scanned.v1", topic="typing"):
    id: Key[str]
    at: datetime


class Seen(Event, type="typing.seen.v1", topic="typing"):
    ids: list[str]


class Moved(Event, type="typing.moved.v1", topic="typing"):
    id: Key[str]


class Found(Event, type="typing.found.v1"):
    shelf: int


class FoundLater(Event, type="typing.found-later.v1"):
    days: int


class Nowhere(Event, type="typing.nowhere.v1"):
    pass


class Search(Command[Found | FoundLater, Nowhere], type="typing.search.v1", topic="typing.commands"):
    id: Key[str]


class Stopped(Event, type="typing.stopped.v1"):
    pass


class Stop(Command[Stopped, Never], type="typing.stop.v1", topic="typing.commands"):
    id: Key[str]


class ChecksAsked(Event, type="typing.checks.asked.v1", topic="typing"):
    id: Key[str]


class Checked(Event, type="typing.checked.v1", topic="typing"):
    score: int


class Checks(Flow, name="typing-checks"):
    asked = starts_on(ChecksAsked)

    @step(kind="read_only")
    def look(self) -> Search:
        return Search(id=self.asked.id)

    @on_completed(look)
    def tell(self, found: Found | FoundLater) -> Checked:
        return Checked(score=1)


class Things(Data):
    count: int
    seen: datetime | None = None


class Machine(StateMachine[Things], name="typing-machine", unexpected="defer"):
    opened = starts_on(Opened)

    first = state(initial=True)
    second = state()
    inner = state(second, initial=True)
    review = state()
    over = state(final=True)

    @on_started
    def begin(self) -> Things:
        assert_type(self.opened, Opened)
        return Things(count=0)

    def is_newer(self, scan: Scanned) -> bool:
        return self.data.seen is None or scan.at > self.data.seen

    def is_any(self, event: Event) -> bool:
        return bool(event)

    def is_many(self) -> bool:
        assert_type(self.data, Things)
        assert_type(self.now, datetime)
        return self.data.count > 3

    def patience(self) -> timedelta:
        return timedelta(hours=self.data.count)

    @first.on(Scanned, to=second, when=is_newer)
    @second.on(Scanned, when=is_any)
    def scanned(self, scan: Scanned) -> Things:
        return self.data.model_copy(update={"seen": scan.at})

    @first.on(Opened, Scanned)
    def either(self, event: Opened | Scanned) -> list[Things | Moved]:
        return [self.data, Moved(id=event.id)]

    @second.on(Seen, by="ids")
    def any_event(self, event: Event) -> None:
        return None

    @first.after("7d", to=over)
    @second.after(patience, to=first)
    def moved(self) -> tuple[Things, Moved]:
        return self.data, Moved(id=self.opened.id)

    second.always(to=review, when=is_many)
    second.on_cancel(to=over)
    first.defer(Seen)

    @second.entry
    def say(self) -> Moved:
        return Moved(id=self.opened.id)

    @second.entry
    def search(self) -> Search:
        return Search(id=self.opened.id)

    @inner.entry(retry=Retry(attempts=3), timeout="1h")
    def search_more(self) -> Search:
        return Search(id=self.opened.id)

    @second.exit(timeout="1m")
    def stop(self) -> Stop:
        return Stop(id=self.opened.id)

    def is_here(self, found: Found | FoundLater) -> bool:
        return isinstance(found, Found)

    @search.done(to=first, when=is_here)
    def found(self, found: Found | FoundLater) -> Things:
        return self.data

    @search.rejected(to=over)
    def nowhere(self, nowhere: Nowhere) -> None: ...

    @search.failed(to=over)
    def failed(self, failure: Failure) -> Moved:
        return Moved(id=failure.reason)

    @first.runs(Checks, yields=Checked)
    def check(self) -> ChecksAsked:
        return ChecksAsked(id=self.opened.id)

    @check.done(to=review)
    def checked(self, checked: Checked) -> Things:
        return self.data

    check.failed(to=over)

    def asked_by(self) -> str:
        return self.opened.id

    question = review.approval(role="officer", requester=asked_by)

    @question.approved(to=over)
    @question.rejected(to=first)
    def decided(self, decision: Approval) -> Things:
        return self.data


assert_type(Machine.first, State)
assert_type(Machine.search, Sending[Found | FoundLater, Nowhere])
assert_type(Machine.search_more, Sending[Found | FoundLater, Nowhere])
assert_type(Machine.stop, Sending[Stopped, Never])
assert_type(Machine.check, Child[Checked])
assert_type(Machine.question, Question)


def reveal(of: State) -> None:
    assert_type(of.on(Scanned), On[Scanned])
    assert_type(of.on(Scanned, Seen), On[Scanned | Seen])
    assert_type(of.after("1d"), OnNothing)
