"""What types cannot say of a machine is an error when the class is made: it names class, member and remedy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Never

import pytest

from orchestra import (
    Command,
    Data,
    Done,
    Event,
    Flow,
    Key,
    Retry,
    State,
    StateMachine,
    on_started,
    starts_on,
    state,
    step,
)
from orchestra.errors import DefinitionError
from orchestra.flows.saga import definition_of
from tests.unit.flows.play import Play


class Begun(Event, type="mistake.begun.v1", topic="mistakes"):
    id: Key[str]


class Happened(Event, type="mistake.happened.v1", topic="mistakes"):
    id: Key[str]
    other: str = ""


class HappenedToo(Event, type="mistake.happened.v1", topic="mistakes"):
    id: Key[str]


class Keyless(Event, type="mistake.keyless.v1", topic="mistakes"):
    id: str
    other: str = ""


class Homeless(Event, type="mistake.homeless.v1"):
    id: Key[str]


class Act(Command[Done, Never], type="mistake.act.v1", topic="mistake.commands"):
    id: Key[str]


class Act2(Command[Done, Never], type="mistake.act2.v1", topic="mistake.commands"):
    id: Key[str]


class Nothing(Data):
    pass


class Needs(Data):
    what: str


class Other(Data):
    pass


class Inner(Flow, name="mistake-inner"):
    begun = starts_on(Begun)

    @step
    def act(self) -> Act:
        return Act(id=self.begun.id)


class Elsewhere:
    away = state()


def act(self: Any) -> Act:
    return Act(id="1")


def start(self: Any) -> Begun:
    return Begun(id="1")


def on_event(self: Any, event: Happened) -> None: ...


def needs_event(self: Any, event: Happened) -> bool:
    return True


def test_an_ordinary_machine_is_fine() -> None:
    def declare(first: State, end: State) -> dict[str, Any]:
        first.on(Happened, to=end)
        return {}

    machine = made(declare)
    assert definition_of(machine).listens_to == {"mistake.happened.v1": "mistakes"}


Declare = Callable[[State, State], dict[str, Any]]


def made(declare: Declare, data: Any = Nothing, **keywords: Any) -> Any:
    """A machine of two states and whatever the case adds."""
    first, end = state(initial=True), state(final=True)
    members: dict[str, Any] = {"begun": starts_on(Begun), "first": first, "end": end}
    members |= declare(first, end)
    for name, member in members.items():
        if hasattr(member, "__set_name__"):
            member.__set_name__(None, name)
    base = StateMachine[data]
    namespace = {**members, "__orig_bases__": (base,), "__module__": __name__}
    return type.__new__(type, "Bad", (StateMachine,), namespace, **({"name": "bad"} | keywords))


def refused(declare: Declare, *words: str, data: Any = Nothing, **keywords: Any) -> None:
    with pytest.raises(DefinitionError) as raised:
        made(declare, data, **keywords)
    for word in words:
        assert word in str(raised.value)


def go(first: State, end: State) -> dict[str, Any]:
    first.on(Happened, to=end)
    return {}


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"name": None}, ("Bad", "name='bad'")),
        ({"name": "Bad Name"}, ("lower-case",)),
        ({"version": 0}, ("whole number from 1",)),
        ({"unexpected": "crash"}, ("'ignore', 'defer' or 'reject'",)),
        ({"data": int}, ("Bad", "class BadData(Data)")),
        ({"data": Needs}, ("Needs has fields without a default", "@on_started")),
    ],
)
def test_the_class_line(keywords: dict[str, Any], words: tuple[str, ...]) -> None:
    refused(go, *words, **keywords)


def test_what_starts_it() -> None:
    def twice(first: State, end: State) -> dict[str, Any]:
        return {**go(first, end), "again": starts_on(Happened)}

    def keyless(first: State, end: State) -> dict[str, Any]:
        return {**go(first, end), "begun": starts_on(Keyless)}

    refused(twice, "begun and again both start it")
    refused(keyless, "Bad.begun: Keyless has no key")


def test_the_data_at_the_start() -> None:
    def other(first: State, end: State) -> dict[str, Any]:
        def begin(self: Any) -> Other:
            return Other()

        return {**go(first, end), "begin": on_started(begin)}

    def twice(first: State, end: State) -> dict[str, Any]:
        def begin(self: Any) -> Nothing:
            return Nothing()

        return {**go(first, end), "begin": on_started(begin), "more": on_started(begin)}

    refused(other, "Bad.begin", "let it return Nothing")
    refused(twice, "begin and more are both @on_started")


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (lambda f, e: {**go(f, e), "second": state(initial=True)}, ("first and second are marked",)),
        (lambda f, e: {**go(f, e), "lonely": f.on(Happened) and state()}, ("declared again behind one",)),
        (lambda f, e: {**go(f, e), "lonely": state()}, ("Bad.lonely", "nothing leads")),
        (lambda f, e: {}, ("Bad.first: nothing leads out of it", "final=True")),
        (lambda f, e: {**go(f, e), "alias": f}, ("Bad.alias", "'first' under a second name")),
        (lambda f, e: {"data": state(), **go(f, e)}, ("Bad.data", "orchestra's own")),
        (lambda f, e: f.on(Happened, to=Elsewhere.away) and {}, ("Bad.first: to=away", "it has first, end")),
        (lambda f, e: f.on(Happened, to=state()) and {}, ("Bad.first: to=?",)),
        (lambda f, e: f.on(Happened, to="end") and {}, ("Bad.first: to='end'",)),
        (lambda f, e: {**go(f, e), "part": state(Elsewhere.away)}, ("Bad.part: within=away",)),
        (lambda f, e: e.on(Happened, to=f) and go(f, e), ("Bad.end", "nothing leads out of a final state")),
        (lambda f, e: {**go(f, e), "part": state(e)}, ("Bad.end", "no states within")),
        (lambda f, e: e.exit(on_left) and go(f, e), ("Bad.end", "not left")),
        (lambda f, e: {**go(f, e), "odd": state(failed=True)}, ("Bad.odd", "failed=True is said of a final state")),
        (lambda f, e: {"p": (p := state(parallel=True)), **one_region(f, p)}, ("Bad.p", "two states within")),
        (lambda f, e: {**(m := regions(f, e)), "r": state(m["p"], initial=True)}, ("Bad.r", "take initial=True away")),
        (
            lambda f, e: {**(m := regions(f, e)), "r": state(m["p"], final=True)},
            ("Bad.r", "a region is no final state"),
        ),
        (lambda f, e: f.done(to=e) and {}, ("Bad.first.done", "a final state within it")),
        (lambda f, e: (f.on(Happened, to=e) and f.defer(Happened)) or {}, ("Bad.first", "never unexpected")),
    ],
)
def test_states(declare: Declare, words: tuple[str, ...]) -> None:
    refused(declare, *words)


def on_left(self: Any) -> None: ...


def one_region(first: State, parallel: State) -> dict[str, Any]:
    first.on(Happened, to=parallel)
    return {"only": state(parallel)}


def regions(first: State, end: State) -> dict[str, Any]:
    both = state(parallel=True)
    first.on(Happened, to=both)
    both.on(Happened, to=end)
    return {"p": both, "q": state(both)}


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (lambda f, e: f.on(Act, to=e) and {}, ("Bad.first.on: it takes Event classes",)),
        (lambda f, e: f.on(Homeless, to=e) and {}, ("Bad.first.on: Homeless has no topic",)),
        (lambda f, e: f.on(Keyless, to=e) and {}, ("Bad: Keyless has no key", "by='<field>'")),
        (lambda f, e: f.on(Keyless, to=e, by="nothing") and {}, ("by='nothing'", "it has id, other")),
        (
            lambda f, e: (f.on(Keyless, to=e, by="id") and f.reject(Keyless, by="other")) or {},
            ("by='other', and elsewhere by='id'",),
        ),
        (lambda f, e: (f.on(Happened, to=e) and f.ignore(HappenedToo)) or {}, ("Happened and HappenedToo both have",)),
        (lambda f, e: f.on(Happened, to=e, when=lambda self: True) and {}, ("Bad.first Happened: when=", "the event")),
        (lambda f, e: f.on(Happened, to=e)(on_left) and {}, ("Bad.first Happened", "cannot take it")),
        (lambda f, e: f.on(Happened, to=e)(untyped) and {}, ("Bad.first Happened: it does not say what it returns",)),
        (lambda f, e: f.on(Happened, to=e)(says_text) and {}, ("Bad.first Happened: it returns str", "Nothing")),
        (lambda f, e: f.on(Happened, to=e)(says_other) and {}, ("it returns Other",)),
        (lambda f, e: f.on(Happened, to=e)(says_homeless) and {}, ("Homeless has no topic, where would it go?",)),
        (lambda f, e: f.on(Happened, to=e)(asynchronous) and {}, ("plain functions",)),
        (lambda f, e: f.after("7 days", to=e) and {}, ("Bad.first: after: '7 days' is not a duration",)),
        (lambda f, e: f.after(needs_event, to=e) and {}, ("Bad.first after needs_event", "cannot take it")),
    ],
)
def test_transitions(declare: Declare, words: tuple[str, ...]) -> None:
    refused(declare, *words)


def untyped(self, event):  # type: ignore[no-untyped-def]
    return None


def says_text(self: Any, event: Happened) -> str:
    return ""


def says_other(self: Any, event: Happened) -> Other:
    return Other()


def says_homeless(self: Any, event: Happened) -> Homeless:
    return Homeless(id="1")


async def asynchronous(self: Any, event: Happened) -> None: ...


def two_commands(self: Any) -> Act | Act2:
    return Act(id="1")


def wrong_start(self: Any) -> Happened:
    return Happened(id="1")


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (lambda f, e: {**go(f, e), "act": f.exit(timeout=None)(act)}, ("Bad.act", "give it a timeout")),
        (lambda f, e: {**go(f, e), "act": f.entry(retry=Retry(later=("5s",)))(act)}, ("Bad.act", "for handlers")),
        (lambda f, e: {**go(f, e), "act": f.entry(timeout="soon")(act)}, ("Bad.act: timeout",)),
        (lambda f, e: {**go(f, e), "act": f.entry(two_commands)}, ("Bad.act", "one kind of command")),
        (lambda f, e: {**go(f, e), "x": f.entry(act) and 1}, ("Bad.first", "'act' is hidden", "or has no name")),
        (lambda f, e: {**go(f, e), "act": leaving(f, e)}, ("Bad.first", "'act' is sent when the state is left")),
        (lambda f, e: {**go(f, e), "start": f.runs(Inner, yields=Done)(start)}, ("Bad.start", "orchestra's own")),
        (
            lambda f, e: {**go(f, e), "run": f.runs(int, yields=Done)(start)},
            ("Bad.run", "which is no Flow, Saga or StateMachine"),
        ),
        (
            lambda f, e: {**go(f, e), "run": f.runs(Inner, yields=Done)(wrong_start)},
            ("Bad.run", "returns Happened, which does not start Inner; that starts on Begun"),
        ),
        (
            lambda f, e: {**go(f, e), "run": f.runs(Inner, yields=Act)(start)},
            ("Bad.run: yields=Act: when Inner completes it says Done",),
        ),
        (lambda f, e: {**go(f, e), "run": f.runs(Inner, yields=Done, undo=True)(start)}, ("no saga",)),
        (
            lambda f, e: {**go(f, e), "ask": f.approval(role="r", requester=needs_event)},
            ("Bad.first.ask: requester=needs_event",),
        ),
    ],
)
def test_what_a_state_does(declare: Declare, words: tuple[str, ...]) -> None:
    refused(declare, *words)


def leaving(first: State, end: State) -> Any:
    sending = first.exit(timeout="1s")(act)
    sending.done(to=end)
    return sending


def test_a_machine_is_not_derived_from_another() -> None:
    parent = made(go)
    with pytest.raises(DefinitionError, match=r"Child: a machine is not derived from another one \(Bad\)"):
        type("Child", (parent,), {}, name="child")


def test_nothing_is_declared_once_the_class_is_made() -> None:
    machine = made(go)
    for late in (
        lambda: machine.first.on(Happened),
        lambda: machine.first.after("1s"),
        lambda: machine.first.entry(on_left),
        lambda: machine.first.defer(Happened),
    ):
        with pytest.raises(DefinitionError, match=r"Bad.first: the class is made.*write it in the class"):
            late()


def test_methods_that_lie_about_what_they_return_are_found_when_they_run() -> None:
    def lying(self: Any, event: Happened) -> Nothing:
        return Other()  # type: ignore[return-value]

    def declare(first: State, end: State) -> dict[str, Any]:
        first.on(Happened, to=end)(lying)
        return {}

    with pytest.raises(DefinitionError, match=r"Bad.lying: it returned Other, and says that it returns Nothing"):
        Play(made(declare), Begun(id="1")).occur(Happened(id="1"))


def test_a_guard_that_gives_no_bool_and_a_delay_that_is_none_are_found_when_they_run() -> None:
    def guarded(first: State, end: State) -> dict[str, Any]:
        first.on(Happened, to=end, when=lambda self, event: event.other)  # type: ignore[arg-type,return-value]
        return {}

    def delayed(first: State, end: State) -> dict[str, Any]:
        first.after(lambda self: timedelta(seconds=-1), to=end)
        return {}

    with pytest.raises(DefinitionError, match=r"Bad.first Happened: its guard returned '', which is no bool"):
        Play(made(guarded), Begun(id="1")).occur(Happened(id="1"))
    with pytest.raises(DefinitionError, match=r"Bad.first after .*a delay is a timedelta, not below zero"):
        Play(made(delayed), Begun(id="1"))
