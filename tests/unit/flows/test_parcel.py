"""A parcel's machine, as its users see it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from orchestra.events.message import Event
from orchestra.flows.decision import OperatorRequest, Status, TimerFired
from tests.unit.flows.parcel import (
    Delivered,
    Parcel,
    ParcelFound,
    ParcelNowhere,
    ParcelRegistered,
    Refused,
    Scanned,
    SearchEnded,
)
from tests.unit.flows.play import EPOCH, Play


def parcel() -> Play:
    return Play(Parcel, ParcelRegistered(parcel_id="p-1", address="Main Street 1"))


def scan(depot: str, hour: int = 0) -> Event:
    return Scanned(parcel_id="p-1", depot=depot, at=EPOCH + timedelta(hours=hour))


def data(play: Play) -> dict[str, Any]:
    text = play.last.state["data"]
    assert isinstance(text, str)
    value: dict[str, Any] = json.loads(text)
    return value


def active(play: Play) -> list[str]:
    views = play.definition.steps(play.last.state)
    return [view.name for view in views if (view.kind, view.status) == ("state", "running")]


def test_scans_move_a_parcel_until_it_is_delivered() -> None:
    play = parcel()
    assert active(play) == ["under_way", "registered"]

    play.occur(scan("north", 1))
    assert active(play) == ["under_way", "moving"]
    play.occur(scan("south", 2))
    assert data(play)["depot"] == "south"
    play.occur(Delivered(parcel_id="p-1"))

    assert play.status is Status.COMPLETED
    assert play.types() == ["parcels.parcel.arrived.v1"]
    assert json.loads(play.sent[-1].event.data or b"") == {"parcel_id": "p-1", "scans": 2}
    assert play.last.timers == []


def test_a_scan_that_comes_late_is_ignored_with_a_line_in_the_journal() -> None:
    play = parcel()
    play.occur(scan("south", 2))
    play.occur(scan("north", 1))

    assert data(play)["depot"] == "south"
    assert play.whats() == ["event.ignored"]
    assert "guard says no in moving" in play.last.journal[0].note


def test_hazard_7_and_8_a_parcel_that_is_not_seen_for_a_week_is_lost_once() -> None:
    play = parcel()
    play.occur(scan("north", 1))
    stale = play.timer_of("moving", "after")
    play.now += timedelta(days=6)
    play.occur(scan("south", 2))
    assert play.timer_of("moving", "after").due == play.now + timedelta(days=7)

    play.give(TimerFired(stale.name, stale.generation))
    assert play.whats() == ["timer.stale"]

    play.fire("moving", "after")
    assert active(play) == ["lost"]
    assert play.types() == ["parcels.parcel.lost.v1", "depots.parcel.search.v1"]


def lost() -> Play:
    play = parcel()
    play.occur(scan("north", 1))
    play.fire("moving", "after")
    return play


def test_a_parcel_that_is_found_moves_on_and_the_search_ends() -> None:
    play = lost()
    play.answer("search", ParcelFound(depot="west"))

    assert active(play) == ["under_way", "moving"]
    assert data(play)["depot"] == "west"
    assert play.types() == ["depots.search.end.v1"]
    play.answer("end_search", SearchEnded())
    assert play.whats() == ["command.replied"]


def test_a_search_that_finds_nothing_ends_the_parcel_when_what_it_owes_is_done() -> None:
    play = lost()
    play.answer("search", ParcelNowhere(searched=3))
    assert play.status == "running"
    assert [line for line in play.definition.waits_for(play.last.state) if line.startswith("end_search")]

    play.answer("end_search", SearchEnded())
    assert play.status is Status.COMPLETED


def test_a_search_without_an_answer_stays_lost_and_says_why() -> None:
    play = lost()
    play.give_up("search")

    assert active(play) == ["lost"]
    assert data(play)["reason"] == "no answer within 7200 s, in 2 tries"


def test_an_exit_command_that_is_not_answered_is_left_to_an_operator() -> None:
    play = lost()
    play.answer("search", ParcelNowhere(searched=3))
    play.give_up("end_search")
    assert play.status == "stuck"
    assert play.codes() == ["command.stuck"]

    play.operate("skip", "end_search")
    assert play.status is Status.COMPLETED


def test_a_cancel_goes_where_the_machine_says() -> None:
    play = parcel()
    play.occur(scan("north", 1))
    play.operate("cancel")
    assert active(play) == ["under_way", "returning"]
    play.occur(Delivered(parcel_id="p-1"))
    assert play.status is Status.COMPLETED
    assert play.types() == ["parcels.parcel.returned.v1"]


def test_a_refused_parcel_goes_back() -> None:
    play = parcel()
    play.occur(scan("north", 1))
    play.occur(Refused(parcel_id="p-1", reason="broken"))
    play.occur(Delivered(parcel_id="p-1"))
    assert json.loads(play.sent[-1].event.data or b"")["reason"] == "broken"


def test_the_state_is_small() -> None:
    play = parcel()
    for hour in range(40):
        play.occur(scan("north", hour))
    assert len(json.dumps(play.last.state, separators=(",", ":"))) < 1024


def test_a_machine_that_stays_where_it_is_can_refuse_a_cancel() -> None:
    play = lost()
    play.give(OperatorRequest("cancel", by="ann", reason="because"))
    assert active(play) == ["lost"]
