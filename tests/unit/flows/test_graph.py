"""What the digest of a graph notices, and which node comes after which."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from orchestra.events.message import Undo
from orchestra.flows.graph import Graph
from orchestra.flows.saga import Flow, Saga, graph_of, on_completed, pivot, starts_on, step
from orchestra.retry import Retry
from tests.unit.flows.shop import FoodOrder
from tests.unit.flows.trip import Book, Booked, Trip, TripAsked, TripBooked


def book(self: Any, *needed: Any) -> Book:
    return Book(trip_id="1", what="x")


def over(self: Any, *given: Any) -> TripBooked:
    return TripBooked(trip_id="1", total=1)


def graph(base: type[Flow] = Saga, **members: Any) -> Graph:
    return graph_of(type(Flow)("Made", (base,), {"ask": starts_on(TripAsked), **members}, name="made"))


def test_equal_definitions_have_equal_digests_whatever_may_be_tuned_under_running_instances() -> None:
    plain = graph(first=step(undo=Undo)(book))
    tuned = graph(first=step(undo=Undo, timeout="3m", retry=Retry(attempts=9))(book))

    assert tuned.digest == plain.digest


def test_a_change_that_running_instances_would_notice_changes_the_digest() -> None:
    def pair(**options: Any) -> dict[str, Any]:
        first = step(undo=Undo)(book)
        return {"first": first, "second": step(**({"undo": Undo} | options))(book)}

    one = step(undo=Undo)(book)
    two = step(one, undo=Undo)(book)
    digests = [
        graph(**pair()).digest,
        graph(first=one, second=two).digest,
        graph(first=one, second=step(after=one, undo=Undo)(book)).digest,
        graph(first=one, other=step(undo=Undo)(book)).digest,
        graph(first=one, second=step(kind="read_only")(book)).digest,
        graph(first=one, second=pivot(after=one)(book)).digest,
        graph(first=one, second=step(after=one, kind="retriable")(book)).digest,
        graph(first=one).digest,
        graph(first=one, over=on_completed(over)).digest,
        graph(first=one, over=on_completed(one)(over)).digest,
        graph(base=Flow, first=one).digest,
        graph_of(FoodOrder).digest,
        graph_of(Trip).digest,
    ]

    assert len(set(digests)) == len(digests)


def test_the_digest_is_the_same_in_another_process_with_another_hash_seed() -> None:
    script = "import tests.unit.flows.trip as t, orchestra.flows.saga as s; print(s.graph_of(t.Trip).digest)"
    for seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": "."}
        found = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        assert found.stdout.strip() == graph_of(Trip).digest


def test_descendants_are_all_that_comes_after() -> None:
    trip = graph_of(Trip)

    assert trip.descendants["flight"] == {"visa", "pay", "tell"}
    assert trip.descendants["rating"] == {"pay", "tell"}
    assert trip.descendants["tell"] == set()
    assert list(trip.nodes) == ["flight", "hotel", "rating", "visa", "pay", "tell"]


def test_the_topics_of_a_flow_are_named_once() -> None:
    assert list(graph_of(Trip).topics) == ["booking.commands", "money.commands", "mail.commands", "trips"]


def test_a_flow_that_derives_from_another_takes_over_its_steps() -> None:
    class Longer(Trip, name="longer"):
        @step(Trip.flight, kind="retriable", after=Trip.pay)
        def more(self, flight: Booked) -> Book:
            return Book(trip_id=self.ask.trip_id, what="more")

    assert list(graph_of(Longer).nodes) == [*graph_of(Trip).nodes, "more"]
    assert graph_of(Trip).name == "trip"
