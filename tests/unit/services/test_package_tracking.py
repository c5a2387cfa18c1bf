"""Package tracking: a parcel's stories, and a month of scans on their way through the whole."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

import orchestra
from orchestra import Done
from orchestra.testing import Story, run
from orchestra.testing.memory import published, running_in_memory
from services.demo_kit.reconcile import Books
from services.package_tracking import depots
from services.package_tracking.app import app
from services.package_tracking.demo import ends_of, reconcile
from services.package_tracking.flow import Parcel, Whereabouts
from services.package_tracking.make_scans import SCANS, events, lines
from services.package_tracking.messages import (
    CallOffSearch,
    DeliveryRefused,
    ParcelDelivered,
    ParcelFound,
    ParcelHandedOver,
    ParcelMissing,
    ParcelNowhere,
    ParcelRegistered,
    ParcelReturned,
    ParcelScanned,
    ParcelWrittenOff,
    SearchParcel,
)
from services.package_tracking.world import GONE
from tests.unit.services.conftest import until

REGISTERED = ParcelRegistered(parcel_id="p-1", sender="Teekontor", recipient="1 Ringstraße")
REFUSED = DeliveryRefused(parcel_id="p-1", reason="the box is crushed")


def scan(depot: str, day: int) -> ParcelScanned:
    return ParcelScanned(parcel_id="p-1", depot=depot, at=datetime(2026, 3, day, tzinfo=UTC))


def handed(to: str) -> ParcelHandedOver:
    return ParcelHandedOver.model_validate({"parcel_id": "p-1", "to": to})


def lost() -> Story:
    t = run(Parcel, REGISTERED)
    t.publish(scan("Berlin", 3))
    t.advance("7d")
    assert t.published(ParcelMissing).last_seen == "Berlin"
    return t


def test_scans_move_it_until_somebody_has_it() -> None:
    t = run(Parcel, REGISTERED)
    t.publish(scan("Berlin", 3))
    t.publish(scan("Kassel", 4))
    assert t.query(Parcel.whereabouts) == Whereabouts(states=["tracked", "moving"], depot="Kassel")

    t.publish(handed("recipient"))

    t.completed(ParcelDelivered)
    t.nothing_sent()


def test_an_older_scan_moves_nothing() -> None:
    t = run(Parcel, REGISTERED)
    t.publish(scan("Kassel", 4))

    t.publish(scan("Berlin", 3))

    assert t.query(Parcel.whereabouts).depot == "Kassel"


def test_somebody_has_it_before_any_scan_has_come() -> None:
    t = run(Parcel, REGISTERED)

    t.publish(handed("recipient"))

    t.completed(ParcelDelivered)


def test_each_scan_begins_the_seven_days_anew() -> None:
    t = run(Parcel, REGISTERED)
    for day in (3, 4, 5):
        t.advance("6d")
        t.publish(scan("Berlin", day))
        assert t.states == ["tracked", "moving"]

    t.advance("7d")

    assert t.states == ["tracked", "lost"]


def test_one_that_is_found_goes_on_and_the_search_is_called_off() -> None:
    t = lost()

    t.expect(SearchParcel(parcel_id="p-1", last_seen="Berlin")).reply(ParcelFound(depot="Mainz"))

    assert t.query(Parcel.whereabouts) == Whereabouts(states=["tracked", "moving"], depot="Mainz")
    t.expect(CallOffSearch).reply(Done())
    t.nothing_sent()


def test_one_that_turns_up_by_itself_is_not_searched_for_any_longer() -> None:
    t = lost()
    search = t.expect(SearchParcel)

    t.publish(scan("Mainz", 5))
    t.expect(CallOffSearch).reply(Done())
    search.reply(ParcelFound(depot="Berlin"))

    assert t.query(Parcel.whereabouts).depot == "Mainz"


def test_one_that_is_nowhere_is_written_off_once_the_search_is_called_off() -> None:
    t = lost()

    t.expect(SearchParcel).reject(ParcelNowhere())
    t.expect(CallOffSearch).reply(Done())

    assert t.completed(ParcelWrittenOff).last_seen == "Berlin"


def test_without_a_word_from_the_depots_it_is_written_off_in_the_end() -> None:
    t = lost()

    t.advance("14d")
    t.expect(CallOffSearch).reply(Done())

    t.completed(ParcelWrittenOff)


def test_one_that_is_refused_goes_back_also_through_a_corner() -> None:
    t = run(Parcel, REGISTERED)
    t.publish(REFUSED)
    assert t.states == ["tracked", "returning"]

    t.advance("7d")
    t.expect(SearchParcel).reply(ParcelFound(depot="Mainz"))
    t.expect(CallOffSearch).reply(Done())
    assert t.states == ["tracked", "returning"]
    t.publish(handed("sender"))

    assert t.completed(ParcelReturned).reason == "the box is crushed"


def test_the_sender_recalls_it() -> None:
    t = run(Parcel, REGISTERED)

    t.cancel()
    assert t.states == ["tracked", "returning"]
    t.publish(handed("sender"))

    assert t.completed(ParcelReturned).reason == "recalled by the sender"


def test_the_checked_in_scans_are_the_generated_ones() -> None:
    assert SCANS.read_text().splitlines() == lines(150, seed=3)


async def test_everybody_is_told_once_and_the_truth(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depots, "SEARCH_SECONDS", 0)
    some = [event for event in events() if event.parcel_id <= "parcel-0040" and event.parcel_id not in GONE]
    ends = ends_of(some)

    async with running_in_memory(app) as log, orchestra.connect(transport=log) as bus:
        await bus.publish(*some)
        await until(lambda: len(published(log, ParcelDelivered)) + len(published(log, ParcelReturned)) == len(ends))
        books = Books(data)
        await until(lambda: books.number("notices", "select count(*) from letters") == len(ends))

    assert [finding for finding in reconcile(books, ends) if not finding.holds] == []
