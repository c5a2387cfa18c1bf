"""Do machines mean what SCXML and UML say? Each test is a case in which engines are known to differ or to be wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestra import Data, Event, Key, StateMachine, starts_on, state
from orchestra.errors import DefinitionError
from orchestra.flows.decision import Status, TimerFired
from tests.unit.flows.play import Play


class Go(Event, type="test.go.v1", topic="test"):
    id: Key[str]


class A(Event, type="test.a.v1", topic="test"):
    id: Key[str]
    wanted: bool = True


class B(Event, type="test.b.v1", topic="test"):
    id: Key[str]


class C(Event, type="test.c.v1", topic="test"):
    id: Key[str]


class Trace(Data):
    seen: tuple[str, ...] = ()

    def plus(self, *more: str) -> Trace:
        return Trace(seen=(*self.seen, *more))


def play(machine: type[StateMachine[Any]]) -> Play:
    return Play(machine, Go(id="1"))


def give(it: Play, *events: type[Event]) -> Play:
    for event in events:
        it.occur(event.model_validate({"id": "1"}))
    return it


def seen(it: Play) -> list[str]:
    """What the actions wrote, since the last time."""
    value: list[str] = json.loads(str(it.last.state["data"]))["seen"]
    return value


def active(it: Play) -> list[str]:
    views = it.definition.steps(it.last.state)
    return [view.name for view in views if (view.kind, view.status) == ("state", "running")]


class Nested(StateMachine[Trace], name="test-nested"):
    go = starts_on(Go)
    outer = state(initial=True)
    one = state(outer, initial=True)
    inner = state(one, initial=True)
    two = state(outer)
    deep = state(two, initial=True)
    other = state()
    end = state(final=True)

    @outer.entry
    def in_outer(self) -> Trace:
        return self.data.plus("+outer")

    @one.entry
    def in_one(self) -> Trace:
        return self.data.plus("+one")

    @inner.entry
    def in_inner(self) -> Trace:
        return self.data.plus("+inner")

    @two.entry
    def in_two(self) -> Trace:
        return self.data.plus("+two")

    @deep.entry
    def in_deep(self) -> Trace:
        return self.data.plus("+deep")

    @outer.exit
    def out_outer(self) -> Trace:
        return self.data.plus("-outer")

    @one.exit
    def out_one(self) -> Trace:
        return self.data.plus("-one")

    @inner.exit
    def out_inner(self) -> Trace:
        return self.data.plus("-inner")

    @inner.on(A, to=deep)
    def go_deep(self, event: A) -> Trace:
        return self.data.plus("deep!")

    @inner.on(B)
    def stay(self, event: B) -> Trace:
        return self.data.plus("stay!")

    @outer.on(C)
    def stay_outside(self, event: C) -> Trace:
        return self.data.plus("stay!")

    @outer.on(B, to=end)
    def outer_b(self, event: B) -> Trace:
        return self.data.plus("outer!")

    two.on(A, to=two)
    two.on(C, to=outer)
    outer.on(A, to=inner)
    other.always(to=end)
    inner.after("1d", to=other)


def test_states_are_entered_from_outer_to_inner() -> None:
    assert seen(play(Nested)) == ["+outer", "+one", "+inner"]


def test_a_transition_leaves_from_inner_to_outer_acts_and_enters_from_outer_to_inner() -> None:
    assert seen(give(play(Nested), A))[3:] == ["-inner", "-one", "deep!", "+two", "+deep"]


def test_the_innermost_state_goes_first() -> None:
    it = give(play(Nested), B)
    assert seen(it)[3:] == ["stay!"]
    assert active(it) == ["outer", "one", "inner"]


def test_a_transition_without_a_target_leaves_nothing_even_of_a_state_around() -> None:
    it = give(play(Nested), C)
    assert seen(it)[3:] == ["stay!"]


def test_a_state_that_is_its_own_target_is_left_and_entered_again_with_its_first_state_inside() -> None:
    assert seen(give(play(Nested), A, A))[8:] == ["+two", "+deep"]


def test_a_transition_to_a_state_around_leaves_that_one_too() -> None:
    assert seen(give(play(Nested), A, C))[8:] == ["-outer", "+outer", "+one", "+inner"]


def test_what_the_inner_state_does_not_take_the_outer_one_does() -> None:
    it = give(play(Nested), A, B)
    assert seen(it)[8:] == ["-outer", "outer!"]
    assert it.status is Status.COMPLETED


def test_eventless_transitions_follow_at_once() -> None:
    it = play(Nested)
    it.fire("inner", "after")
    assert it.status is Status.COMPLETED
    assert it.whats().count("transition.taken") == 2


class Regions(StateMachine[Trace], name="test-regions"):
    go = starts_on(Go)
    both = state(initial=True, parallel=True)
    left = state(both)
    l1 = state(left, initial=True)
    l2 = state(left)
    l_end = state(left, final=True)
    right = state(both)
    r1 = state(right, initial=True)
    r_end = state(right, final=True)
    aside = state()
    end = state(final=True)

    @l1.on(A, to=l2)
    def act_left(self, event: A) -> Trace:
        return self.data.plus("left!")

    @r1.on(A, to=r_end)
    def act_right(self, event: A) -> Trace:
        return self.data.plus("right!")

    @both.on(A)
    def act_around(self, event: A) -> Trace:
        return self.data.plus("both!")

    @l2.entry
    def in_l2(self) -> Trace:
        return self.data.plus("+l2")

    @r_end.entry
    def in_r(self) -> Trace:
        return self.data.plus("+r")

    @right.done()
    def right_done(self) -> Trace:
        return self.data.plus("right done")

    @both.done(to=end)
    def all_done(self) -> Trace:
        return self.data.plus("all done")

    l2.on(B, to=l_end)
    l1.on(C, to=aside)
    r1.on(C, to=r_end)
    aside.on(C, to=r1)


def test_regions_are_all_entered_at_once() -> None:
    assert active(play(Regions)) == ["both", "left", "l1", "right", "r1"]


def test_one_event_moves_every_region_that_takes_it_actions_before_entries() -> None:
    it = give(play(Regions), A)
    assert seen(it) == ["left!", "right!", "+l2", "+r", "right done"]
    assert active(it)[:3] == ["both", "left", "l2"]


def test_hazard_3_a_parallel_state_is_done_once_when_every_region_is() -> None:
    it = give(play(Regions), A, B)
    assert seen(it)[-1] == "all done"
    assert seen(it).count("all done") == 1
    assert it.status is Status.COMPLETED


def test_a_region_that_has_nothing_to_say_asks_the_states_around() -> None:
    it = give(play(Regions), A, A)
    # The region on the right is in its final state, and what is around takes the event, without leaving anything; so
    # does the one on the left. It is one transition, taken once.
    assert seen(it)[5:] == ["both!"]


def test_of_two_transitions_that_would_leave_the_same_state_the_first_in_the_document_wins() -> None:
    it = give(play(Regions), C)
    assert active(it) == ["aside"]
    assert seen(it) == []


def test_a_transition_into_one_region_enters_the_others_by_their_first_states() -> None:
    it = give(play(Regions), C, C)
    assert active(it) == ["both", "left", "l1", "right", "r1"]


class Guards(StateMachine[Trace], name="test-guards"):
    go = starts_on(Go)
    first = state(initial=True)
    second = state()
    third = state()
    end = state(final=True)

    def is_wanted(self, event: A) -> bool:
        return event.wanted

    def is_never(self, event: B) -> bool:
        return False

    def is_marked(self) -> bool:
        return "mark" in self.data.seen

    first.on(A, to=second, when=is_wanted)
    first.on(A, to=third)
    first.on(B, to=end, when=is_never)

    @second.on(B)
    def mark(self, event: B) -> Trace:
        return self.data.plus("mark")

    second.always(to=third, when=is_marked)
    third.on(C, to=end)


def test_the_first_transition_whose_guard_says_yes_is_taken() -> None:
    it = play(Guards)
    it.occur(A(id="1", wanted=False))
    assert active(it) == ["third"]
    assert active(give(play(Guards), A)) == ["second"]


def test_an_event_whose_guards_all_say_no_is_unexpected() -> None:
    it = give(play(Guards), B)
    assert it.whats() == ["event.ignored"]
    assert "its guard says no" in it.last.journal[0].note


def test_an_eventless_transition_looks_at_the_data_after_every_change() -> None:
    assert active(give(play(Guards), A, B)) == ["third"]


class Deferring(StateMachine[Trace], name="test-deferring"):
    go = starts_on(Go)
    busy = state(initial=True)
    inner = state(busy, initial=True)
    idle = state()
    end = state(final=True)

    busy.defer(A, B)
    inner.on(C, to=idle)

    @inner.on(B)
    def at_once(self, event: B) -> Trace:
        return self.data.plus("B at once")

    @idle.on(A)
    def take(self, event: A) -> Trace:
        return self.data.plus(f"A {event.wanted}")

    idle.on(C, to=busy)
    idle.on(B, to=end)


def test_a_deferred_event_is_taken_in_its_order_when_a_state_takes_it() -> None:
    it = play(Deferring)
    it.occur(A(id="1", wanted=True))
    it.occur(A(id="1", wanted=False))
    assert seen(it) == []
    give(it, C)
    assert seen(it) == ["A True", "A False"]


def test_a_transition_of_an_inner_state_goes_before_the_deferral_of_an_outer_one() -> None:
    assert seen(give(play(Deferring), B)) == ["B at once"]


def test_hazard_17_what_is_deferred_is_bounded_and_what_is_too_much_is_told() -> None:
    it = give(play(Deferring), *[A] * 21)
    assert it.whats() == ["event.rejected"]
    assert it.codes() == ["event.rejected"]
    assert len(it.last.state["deferred"]) == 20  # type: ignore[arg-type]


class Round(StateMachine[Trace], name="test-round"):
    go = starts_on(Go)
    idle = state(initial=True)
    here = state()
    there = state()
    end = state(final=True)
    idle.on(A, to=here)
    here.always(to=there)
    there.always(to=here)
    there.on(B, to=end)


def test_a_machine_that_goes_round_in_circles_is_stopped_and_says_where() -> None:
    it = play(Round)
    with pytest.raises(DefinitionError, match=r"1000 transitions followed one input.* from (here|there) by .always"):
        give(it, A)


class Invalid(Data):
    count: int = 0


class Careless(StateMachine[Invalid], name="test-careless"):
    go = starts_on(Go)
    only = state(initial=True)
    end = state(final=True)

    @only.on(A, to=end)
    def careless(self, event: A) -> Invalid:
        return self.data.model_copy(update={"count": "many"})


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_data_is_validated_however_it_was_made() -> None:
    with pytest.raises(DefinitionError, match=r"Careless.careless: the data that it gave is not valid: count:"):
        give(play(Careless), A)


class Once(StateMachine[Trace], name="test-once"):
    go = starts_on(Go)
    only = state(initial=True)
    end = state(final=True)

    def is_never(self) -> bool:
        return False

    @only.after("1h")
    def remind(self) -> Trace:
        return self.data.plus("reminded")

    only.after("2h", to=end, when=is_never)
    only.after("3h", to=end)


def test_hazard_8_each_timeout_of_a_state_fires_once() -> None:
    it = play(Once)
    for _ in range(3):
        timer = it.last.timers[0]
        it.now = max(it.now, timer.due or it.now)
        it.give(TimerFired(timer.name, timer.generation))
        it.give(TimerFired(timer.name, timer.generation))
    assert seen(it) == ["reminded"]
    assert it.status is Status.COMPLETED
    assert [line.what for line in it.journal].count("timer.stale") == 2
