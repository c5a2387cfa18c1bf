"""Does a story play a state machine as well?"""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestra.testing.story import NOON, Story, run
from tests.unit.flows.parcel import (
    Delivered,
    EndSearch,
    Parcel,
    ParcelArrived,
    ParcelFound,
    ParcelLost,
    ParcelRegistered,
    Scanned,
    SearchEnded,
    SearchParcel,
)


def scanned(t: Story, depot: str) -> None:
    t.publish(Scanned(parcel_id="p-1", depot=depot, at=t.now))


def test_a_parcel_is_lost_found_and_delivered() -> None:
    t = run(Parcel, ParcelRegistered(parcel_id="p-1", address="Main Street 1"))
    assert t.states == ["under_way", "registered"]

    scanned(t, "north")
    t.advance("6d")
    scanned(t, "south")
    assert t.states == ["under_way", "moving"]
    t.advance("7d")
    assert t.now == NOON + timedelta(days=13)
    assert t.states == ["lost"]
    assert t.published(ParcelLost).last_seen == "south"
    t.expect(SearchParcel).reply(ParcelFound(depot="west"))
    t.expect(EndSearch).reply(SearchEnded())
    t.publish(Delivered(parcel_id="p-1"))

    assert t.completed(ParcelArrived).scans == 2
    t.nothing_sent()


def test_an_event_that_the_machine_does_not_know_is_a_mistake_of_the_test() -> None:
    t = run(Parcel, ParcelRegistered(parcel_id="p-1", address="Main Street 1"))

    with pytest.raises(AssertionError, match="of events the flow takes"):
        t.publish(ParcelLost(parcel_id="p-1", last_seen=None))
