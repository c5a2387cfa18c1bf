"""An incident's machine: escalation by timeouts, and events that come early, late or where nobody expects them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from orchestra.events.message import Done
from orchestra.flows.decision import Status
from tests.unit.flows.incident import (
    Acknowledged,
    AlarmRaised,
    HandedOver,
    Incident,
    NobodyOnCall,
    Reopened,
    Solved,
)
from tests.unit.flows.play import Play


def incident(severity: int = 2) -> Play:
    return Play(Incident, AlarmRaised(incident_id="i-1", severity=severity))


def active(play: Play) -> str:
    views = play.definition.steps(play.last.state)
    return [view.name for view in views if (view.kind, view.status) == ("state", "running")][-1]


def data(play: Play) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(str(play.last.state["data"]))
    return value


def test_it_escalates_sooner_when_it_is_severe() -> None:
    assert incident(1).timer_of("first_line", "after").due == incident(1).now + timedelta(minutes=5)
    assert incident(2).timer_of("first_line", "after").due == incident(2).now + timedelta(minutes=30)


def test_nobody_answers_and_it_goes_up_and_up() -> None:
    play = incident()
    play.fire("first_line", "after")
    assert active(play) == "second_line"
    assert play.types() == ["ops.incident.escalated.v1", "pager.page.v1"]
    play.fire("second_line", "after")
    play.fire("management", "after")
    play.fire("management", "after")
    assert data(play) == {"level": 3, "owner": None, "reminders": 3}


def test_a_page_that_nobody_gets_escalates_at_once() -> None:
    play = incident()
    play.answer("page_first", NobodyOnCall())
    assert active(play) == "second_line"
    play.give_up("page_second")
    assert active(play) == "management"


def test_a_page_is_sent_again_with_the_same_effect_id() -> None:
    play = incident()
    play.time_out("page_first")
    first, second = (play.command("page_first", nth=at).event for at in (0, 1))
    assert first.get("effectid") == second.get("effectid")
    assert first.id != second.id
    assert first.data == second.data
    play.answer("page_first", Done())
    assert play.whats() == ["command.replied"]


def test_hazard_16_an_event_that_comes_early_is_kept_until_a_state_takes_it() -> None:
    play = incident()
    play.occur(HandedOver(incident_id="i-1", to="bea"))
    assert play.whats() == ["event.deferred"]

    play.occur(Acknowledged(incident_id="i-1", by="ann"))
    assert play.whats()[-2:] == ["event.recalled", "transition.taken"]
    assert data(play)["owner"] == "bea"
    assert "deferred" not in play.last.state


def test_hazard_17_an_event_that_nobody_expects_is_rejected_and_somebody_hears_of_it() -> None:
    play = incident()
    play.occur(Reopened(incident_id="i-1"))
    assert play.whats() == ["event.rejected"]
    assert play.codes() == ["event.rejected"]
    assert play.last.alerts[0].note == "ops.incident.reopened.v1: not expected in first_line"


def test_a_state_can_say_that_an_event_is_of_no_interest() -> None:
    play = incident()
    play.occur(Acknowledged(incident_id="i-1", by="ann"))
    play.occur(Acknowledged(incident_id="i-1", by="bob"))
    assert play.whats() == ["event.ignored"]
    assert play.codes() == []
    assert data(play)["owner"] == "ann"


def test_an_incident_that_is_reopened_starts_over_and_a_day_of_silence_closes_it() -> None:
    play = incident()
    play.occur(Acknowledged(incident_id="i-1", by="ann"))
    play.occur(Solved(incident_id="i-1"))
    play.occur(Reopened(incident_id="i-1"))
    assert active(play) == "first_line"
    assert play.command("page_first").event.get("effectid") == f"{play.id}/0/page_first/action/1"

    play.answer("page_first", Done())
    play.occur(Solved(incident_id="i-1"))
    play.fire("solved", "after")
    assert play.status is Status.COMPLETED
    assert play.types() == ["ops.incident.closed.v1"]


def test_hazard_3_a_duplicate_event_is_taken_once() -> None:
    play = incident()
    play.occur(HandedOver(incident_id="i-1", to="bea"), id="e-7")
    play.occur(HandedOver(incident_id="i-1", to="bea"), id="e-7")
    assert play.whats() == ["event.duplicate"]
    assert not play.last.changed


def test_hazard_30_a_living_machine_says_what_it_waits_for() -> None:
    play = incident()
    lines = play.definition.waits_for(play.last.state)
    assert "unowned: Acknowledged" in lines
    assert "unsolved: Solved" in lines
    assert any(line.startswith("page_first: the answer to pager.page.v1") for line in lines)
    assert any(line.startswith("first_line: 2026-08-01T12:30:00") for line in lines)
