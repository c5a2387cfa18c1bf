"""Hazards of process managers that concern machines, by their numbers; some stand with the machine that shows them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, Never

import pytest

from orchestra import Command, Data, Done, Event, Flow, Key, Retry, StateMachine, call, starts_on, state, step
from orchestra.errors import DecodeError
from orchestra.events.envelope import compose
from orchestra.events.message import FlowFailed
from orchestra.flows.decision import Occurred, OperatorRequest, Outcome, Status, TimerFired
from orchestra.flows.saga import definition_of
from tests.unit.flows.loan import Loan, LoanRequested
from tests.unit.flows.parcel import Parcel, ParcelFound, ParcelNowhere, ParcelRegistered, Scanned, SearchEnded
from tests.unit.flows.play import EPOCH, Play


def parcel() -> Play:
    return Play(Parcel, ParcelRegistered(parcel_id="p-1", address="Main Street 1"))


def lost() -> Play:
    play = parcel()
    play.fire("registered", "after")
    return play


def active(play: Play) -> list[str]:
    views = play.definition.steps(play.last.state)
    return [view.name for view in views if (view.kind, view.status) == ("state", "running")]


# ---- 1 to 11: outcomes


def test_hazard_1_a_duplicate_reply_changes_nothing() -> None:
    play = lost()
    play.answer("search", ParcelFound(depot="west"))
    play.answer("search", ParcelFound(depot="east"))
    assert play.whats() == ["input.ignored"]
    assert not play.last.changed


def test_hazard_7_of_a_timeout_and_a_reply_the_first_in_the_log_counts() -> None:
    play = lost()
    timer = play.timer_of("search")
    play.answer("search", ParcelFound(depot="west"))
    play.give(TimerFired(timer.name, timer.generation))
    assert play.whats() == ["timer.stale"]


def test_hazard_9_a_command_without_an_answer_is_not_taken_for_rejected() -> None:
    play = lost()
    play.give_up("search")
    assert active(play) == ["lost"]
    assert play.statuses()["search"] == "unknown"


def test_hazard_10_a_reply_after_it_was_given_up_still_counts_while_its_state_lasts() -> None:
    play = lost()
    play.give_up("search")
    play.answer("search", ParcelFound(depot="west"))
    assert active(play) == ["under_way", "moving"]


def test_hazard_10_a_reply_after_its_state_was_left_triggers_nothing() -> None:
    play = lost()
    play.answer("search", ParcelNowhere(searched=1), nth=-1)
    assert play.status == "running"
    play.answer("end_search", SearchEnded())
    assert play.status is Status.COMPLETED


def test_a_rejection_of_an_older_try_proves_nothing_while_a_newer_one_is_out() -> None:
    play = lost()
    play.time_out("search")
    play.answer("search", ParcelNowhere(searched=1), nth=0)
    assert play.whats() == ["outcome.superseded"]


def test_an_answer_to_an_earlier_visit_is_late() -> None:
    play = lost()
    play.answer("search", ParcelFound(depot="west"))
    play.fire("moving", "after")
    assert (play.command("search").event.get("effectid") or "").endswith("/search/action/1")
    play.answer("search", ParcelFound(depot="east"), nth=0)
    assert play.whats() == ["outcome.late"]
    assert active(play) == ["lost"]


def test_what_was_sent_on_leaving_is_not_sent_again_once_the_state_is_entered_anew() -> None:
    play = lost()
    play.answer("search", ParcelFound(depot="west"))
    assert any(timer.name.startswith("end_search") for timer in play.last.timers)
    play.fire("moving", "after")
    assert "command.given_up" in play.whats()
    assert not any(timer.name.startswith("end_search") for timer in play.last.timers)


def test_a_dead_letter_is_unknown_at_once() -> None:
    play = lost()
    play.dead_letter("search")
    assert play.statuses()["search"] == "unknown"
    assert "command.dead_lettered" in play.whats()


def test_a_refused_command_is_sent_as_another_effect() -> None:
    play = lost()
    play.refuse("search")
    play.fire("search")
    first, second = (play.command("search", nth=at).event for at in (-2, -1))
    assert (first.get("effectid") or "").endswith("/0")
    assert (second.get("effectid") or "").endswith("/1")


def test_an_answer_that_is_none_is_told() -> None:
    play = lost()
    play.answer("search", SearchEnded())
    assert play.whats() == ["outcome.unexpected"]
    assert play.codes() == ["outcome.unexpected"]


def test_an_operator_sends_a_failed_command_again_with_the_same_bytes() -> None:
    play = Play(Retried, RetriedAsked(id="1"))
    play.give_up("act")
    assert play.codes() == ["command.failed"]
    play.occur(Count(id="1"))
    play.operate("retry")
    first, second = (play.command("act", nth=at).event for at in (0, 1))
    assert (first.data, first.get("effectid")) == (second.data, second.get("effectid"))


class RetriedAsked(Event, type="hazard.retried.v1", topic="hazards"):
    id: Key[str]


class Count(Event, type="hazard.count.v1", topic="hazards"):
    id: Key[str]


class Act(Command[Done, Never], type="hazard.act.v1", topic="hazard.commands"):
    id: Key[str]
    count: int


class Counted(Data):
    count: int = 0


class Retried(StateMachine[Counted], name="hazard-retried"):
    asked = starts_on(RetriedAsked)
    only = state(initial=True)
    end = state(final=True)

    @only.entry(timeout="1s", retry=Retry(attempts=1))
    def act(self) -> Act:
        return Act(id=self.asked.id, count=self.data.count)

    @only.on(Count)
    def plus(self, event: Count) -> Counted:
        return Counted(count=self.data.count + 1)

    act.done(to=end)


def test_what_is_sent_on_leaving_never_expires_and_what_is_sent_on_entry_does() -> None:
    play = lost()
    assert play.command("search").event.moment("expirytime") == play.now + timedelta(hours=2)
    play.answer("search", ParcelFound(depot="west"))
    assert play.command("end_search").event.moment("expirytime") is None


def test_a_dead_letter_behind_a_timeout_does_not_begin_the_pause_anew() -> None:
    play = lost()
    play.answer("search", ParcelFound(depot="west"))
    play.fire("end_search")
    due = play.timer_of("end_search").due
    play.dead_letter("end_search")
    assert play.whats() == ["input.ignored"]
    assert play.timer_of("end_search").due == due


# ---- 16, 17: events


def test_hazard_16_an_event_for_a_machine_that_is_over_leaves_a_line() -> None:
    play = lost()
    play.answer("search", ParcelNowhere(searched=1))
    play.occur(Scanned(parcel_id="p-1", depot="north", at=EPOCH))
    assert play.whats() == ["event.ignored"]
    play.answer("end_search", SearchEnded())
    play.occur(Scanned(parcel_id="p-1", depot="north", at=EPOCH))
    assert play.whats() == ["input.ignored"]


def test_an_event_of_another_type_or_with_other_data_changes_nothing() -> None:
    play = parcel()
    play.occur(Count(id="1"))
    assert play.whats() == ["event.unknown"]
    wrong = compose(Count(id="1"), id="w", source="/w", time=EPOCH).evolve(type="parcels.parcel.scanned.v1")
    before = json.dumps(play.last.state)
    with pytest.raises(DecodeError):
        play.give(Occurred(wrong))
    assert json.dumps(play.last.state) == before


def test_the_event_that_started_a_machine_is_no_news_to_it() -> None:
    play = Play(Again, RetriedAsked(id="1"))
    play.give(Occurred(play.event))
    assert play.whats() == ["event.duplicate"]


class Again(StateMachine[Counted], name="hazard-again"):
    asked = starts_on(RetriedAsked)
    only = state(initial=True)
    end = state(final=True)
    only.on(RetriedAsked, to=end)


# ---- 20: versions


def test_hazard_20_the_digest_tells_machines_apart_and_not_how_they_are_tuned() -> None:
    def machine(delay: str, target: bool, timeout: str) -> str:
        class Tuned(StateMachine[Counted], name="hazard-tuned"):
            asked = starts_on(RetriedAsked)
            only = state(initial=True)
            end = state(final=True)
            only.after(delay, to=end)
            if target:
                only.on(Count)

            @only.entry(timeout=timeout)
            def act(self) -> Act:
                return Act(id=self.asked.id, count=0)

        return definition_of(Tuned).digest

    assert machine("1d", True, "1s") == machine("2d", True, "9s")
    assert machine("1d", True, "1s") != machine("1d", False, "1s")


# ---- 30: nobody notices


class Stranded(StateMachine[Counted], name="hazard-stranded"):
    asked = starts_on(RetriedAsked)
    first = state(initial=True)
    wedged = state()
    end = state(final=True)

    def is_ten(self) -> bool:
        return self.data.count > 9

    first.on(Count, to=wedged)
    wedged.always(to=end, when=is_ten)


def test_hazard_30_a_machine_that_nothing_can_move_any_more_raises_an_alert() -> None:
    play = Play(Stranded, RetriedAsked(id="1"))
    assert play.codes() == []
    play.occur(Count(id="1"))
    assert play.codes() == ["machine.idle"]
    play.operate("cancel")
    assert play.status is Status.COMPENSATED


# ---- flows and machines that call each other


class Wrapped(Flow, name="hazard-wrapped"):
    asked = starts_on(RetriedAsked)

    @call(Again)
    def run(self) -> RetriedAsked:
        return RetriedAsked(id=f"{self.asked.id}-inner")

    @step(run, timeout="1s")
    def act(self, done: Done) -> Act:
        return Act(id=self.asked.id, count=0)


def test_a_flow_calls_a_machine_and_goes_on_when_it_is_over() -> None:
    play = Play(Wrapped, RetriedAsked(id="1"))
    (start,) = (one for one in play.sent if one.kind == "start")
    assert start.key == b"hazard-again/1-inner"
    effect = str(start.event.get("effectid"))
    play.give(Outcome(effect, compose(Done(), id="d", source="/c", time=EPOCH, extensions={"effectid": effect})))
    assert play.types() == ["hazard.act.v1"]


class Outer(StateMachine[Counted], name="hazard-outer"):
    asked = starts_on(RetriedAsked)
    busy = state(initial=True)
    idle = state()
    end = state(final=True)

    @busy.runs(Again, yields=Done)
    def inner(self) -> RetriedAsked:
        return RetriedAsked(id=f"{self.asked.id}-{self.data.count}")

    inner.done(to=end)

    @busy.on(Count, to=idle)
    @idle.on(Count, to=busy)
    def plus(self, event: Count) -> Counted:
        return Counted(count=self.data.count + 1)


def says(play: Play, event: Event, visit: int) -> Any:
    effect = f"{play.id}/{play.run}/inner/action/{visit}"
    made = compose(event, id=f"s-{visit}", source="/c", time=EPOCH, extensions={"effectid": effect})
    return play.give(Outcome(effect, made))


def test_a_machine_runs_another_one_anew_at_each_visit() -> None:
    play = Play(Outer, RetriedAsked(id="1"))
    play.occur(Count(id="1"))
    play.occur(Count(id="1"))
    assert [one.key for one in play.sent if one.kind == "start"] == [b"hazard-again/1-0", b"hazard-again/1-2"]

    says(play, FlowFailed(step=None, cause="cancelled", reason="x"), 0)
    assert play.whats() == ["outcome.late"]
    says(play, Done(), 1)
    assert play.status is Status.COMPLETED


def test_a_flow_of_an_earlier_visit_that_completed_though_it_was_to_stop_is_told() -> None:
    play = Play(Outer, RetriedAsked(id="1"))
    play.occur(Count(id="1"))
    play.occur(Count(id="1"))
    says(play, Done(), 0)
    assert play.codes() == ["flow.not_undone"]
    assert active(play) == ["busy"]


def test_an_undo_is_not_for_machines() -> None:
    play = Play(Loan, LoanRequested(loan_id="l-1", amount=1, clerk="c"))
    play.give(OperatorRequest("undo", by="flow", reason="x"))
    assert play.whats() == ["operator.refused"]
