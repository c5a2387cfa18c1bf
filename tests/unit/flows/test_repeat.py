"""One step again and again until a reply will do, with a bound."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestra.errors import DefinitionError
from orchestra.flows.decision import Status as FlowStatus
from orchestra.flows.decision import TimerFired
from orchestra.flows.declare_loop import repeat
from orchestra.flows.saga import Flow, starts_on
from tests.unit.flows.packing import Broken, GetStatus, Ordered, Polling, Status
from tests.unit.flows.play import Play


def polling() -> Play:
    return Play(Polling, Ordered(id="A", skus=[]))


def data(play: Play) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(play.last.messages[0].event.data or b"")
    return found


def test_each_turn_is_an_effect_of_its_own_and_knows_the_reply_before() -> None:
    play = polling()
    assert data(play) == {"id": "A", "asked_before": False}

    play.answer("poll", Status(ready=False))
    assert play.phases() == []
    play.fire("poll")

    assert data(play) == {"id": "A", "asked_before": True}
    effects = [one.event.get("effectid") for one in play.sent]
    assert effects == ["polling/A/0/poll/action/0", "polling/A/0/poll/action/1"]


def test_it_waits_between_a_reply_and_the_next_turn() -> None:
    play = polling()
    before = play.now

    play.answer("poll", Status(ready=False))

    assert ((play.timer_of("poll").due or before) - before).total_seconds() == 30
    assert "for turn 2 of 3" in next(iter(play.definition.waits_for(play.last.state)))


def test_it_yields_the_reply_that_will_do() -> None:
    play = polling()
    play.answer("poll", Status(ready=False))
    play.fire("poll")

    play.answer("poll", Status(ready=True))

    assert play.status is FlowStatus.COMPLETED
    assert data(play)["boxes"] == [1]


def test_a_bound_that_is_spent_fails_and_an_operator_gives_it_as_many_turns_again() -> None:
    play = polling()
    for _ in range(2):
        play.answer("poll", Status(ready=False))
        play.fire("poll")
    play.answer("poll", Status(ready=False))
    assert play.status is FlowStatus.HALTED
    assert "3 turns, and no reply will do" in play.journal[-1].note

    play.operate("retry", "poll")

    assert play.status is FlowStatus.RUNNING
    assert play.command("poll").event.get("effectid") == "polling/A/0/poll/action/3"
    play.answer("poll", Status(ready=True))
    assert play.status is FlowStatus.COMPLETED


def test_a_turn_that_fails_fails_it() -> None:
    play = polling()

    play.answer("poll", Broken(sku="x"))

    assert play.status is FlowStatus.HALTED


def test_a_stale_pause_changes_nothing() -> None:
    play = polling()
    play.answer("poll", Status(ready=False))
    timer = play.timer_of("poll")
    play.fire("poll")

    play.give(TimerFired(timer.name, timer.generation))

    assert not play.last.changed


def test_a_flow_that_is_cancelled_does_not_wait_for_the_next_turn() -> None:
    play = polling()
    play.answer("poll", Status(ready=False))

    play.operate("cancel")

    assert play.status is FlowStatus.COMPENSATED
    assert play.last.timers == []


def test_a_bound_is_from_1_to_10000() -> None:
    with pytest.raises(DefinitionError, match="at_most=0: a loop has from 1 to 10000 turns"):

        class Wrong(Flow, name="wrong", version=1):
            order = starts_on(Ordered)

            def enough(self, status: Status) -> bool:
                return status.ready

            @repeat(until=enough, at_most=0)
            def poll(self, previous: Status | None) -> GetStatus:
                return GetStatus(id=self.order.id, asked_before=False)
