"""An instance's state survives JSON, in every situation, and stays small."""

from __future__ import annotations

import json
from typing import Any

from orchestra.events.envelope import Envelope
from orchestra.flows.instance import Instance
from orchestra.flows.step import StepBehaviour
from orchestra.flows.step_state import StepState
from tests.unit.flows.play import Play
from tests.unit.flows.shop import PLACED, Charged, FoodOrder, ItemsReserved, NoDriverFree, Refunded
from tests.unit.flows.trip import ASKED, Booked, Ingest, SoldOut, Trip


def node(name: str, raw: Any) -> StepState:
    return StepBehaviour().load(raw)


def load(raw: Any) -> Instance:
    return Instance.load(raw, node)


def begun(event: Envelope) -> Instance:
    return Instance.begun(event, id="trip/1", run=0, now=1, load=node)


def test_every_state_on_the_way_is_the_same_after_load_and_dump() -> None:
    plays = [Play(FoodOrder, PLACED), Play(Trip, ASKED), Play(Ingest, ASKED)]
    food, trip, ingest = plays
    states = [play.last.state for play in plays]
    food.answer("reserve", ItemsReserved(order_id="o-1"))
    food.time_out("charge")
    states.append(food.last.state)
    food.answer("charge", Charged(order_id="o-1", amount_cents=1))
    food.answer("assign", NoDriverFree(order_id="o-1"))
    food.fire("charge", "undo")
    states.append(food.last.state)
    food.fire("charge", "undo")
    food.fire("charge", "undo")
    states.append(food.last.state)
    food.operate("skip", "charge")
    states.append(food.last.state)
    trip.answer("flight", Booked(price=1))
    trip.dead_letter("hotel")
    states.append(trip.last.state)
    ingest.answer("fetch", SoldOut(what="x"))
    ingest.operate("retry")
    states.append(ingest.last.state)

    for state in states:
        text = json.dumps(state)
        assert json.dumps(load(json.loads(text)).dump()) == text
    assert food.statuses()["refund"] == "skipped"


def test_the_start_event_is_kept_whole() -> None:
    event = Envelope(
        id="e",
        source="/s",
        type="trip.asked.v1",
        subject="sub",
        time_text="2026-08-01T12:00:00.1234567Z",
        datacontenttype="application/json",
        dataschema="https://x/y",
        extensions={"correlationid": "c", "replypartition": 3},
        data=b' {"trip_id": "1",  "more": 1.50}',
    )
    instance = begun(event)

    assert load(json.loads(json.dumps(instance.dump()))).start == event


def test_an_event_without_data_is_kept_so() -> None:
    instance = begun(Envelope("e", "/s", "trip.asked.v1"))

    assert load(instance.dump()).start.data is None


def test_the_outcome_is_kept_as_it_came() -> None:
    """A newer class may read fields that today's class ignores."""
    play = Play(FoodOrder, PLACED)
    command = play.command("reserve").event
    event = command.evolve(
        type="inventory.items.reserved.v1", data=b'{"order_id":"o-1","shelf":12345678901234567890.5}'
    )
    from orchestra.flows.decision import Outcome

    play.give(Outcome(str(command.get("effectid")), event))

    nodes: Any = play.last.state["nodes"]
    assert nodes["reserve"]["o"] == ["inventory.items.reserved.v1", (event.data or b"").decode()]


def test_the_small_saga_is_small() -> None:
    play = Play(FoodOrder, PLACED)
    play.answer("reserve", ItemsReserved(order_id="o-1"))
    play.answer("charge", Charged(order_id="o-1", amount_cents=2500))
    play.answer("assign", NoDriverFree(order_id="o-1"))
    play.undone("charge", Refunded(order_id="o-1"))

    assert len(json.dumps(play.last.state, separators=(",", ":"))) < 1200
