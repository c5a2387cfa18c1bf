"""Is it said what changed between two versions, and whether running instances could follow?"""

from __future__ import annotations

import json
from typing import Any

from orchestra.events.message import Undo
from orchestra.flows.difference import differences, obstacles
from orchestra.flows.saga import Saga, definition_of, starts_on, step
from tests.unit.flows.parcel import Parcel
from tests.unit.flows.play import Play
from tests.unit.flows.shop import (
    PLACED,
    Charged,
    ChargePayment,
    FoodOrder,
    OrderPlaced,
    OutOfStock,
    ReserveItems,
)
from tests.unit.flows.shop_versions import Altered, FoodOrderV2

V1 = definition_of(FoodOrder).parts
V2 = definition_of(FoodOrderV2).parts
ALTERED = definition_of(Altered).parts


def said(old: object, new: object) -> list[str]:
    return [str(one) for one in differences(old, new)]  # type: ignore[arg-type]


def test_nothing_has_changed_between_a_version_and_itself_as_it_is_stored() -> None:
    stored = json.loads(json.dumps(V1))

    assert said(stored, V1) == said(V1, stored) == []
    assert obstacles(stored, V1) == []


def test_timeouts_and_retries_are_no_change() -> None:
    assert "charge" not in {one.part for one in differences(V1, V2)}


def test_what_comes_on_top_is_said_and_stands_in_nobodys_way() -> None:
    assert said(V1, V2) == ["+ mail: retriable, sends shop.mail.send.v1, after assign"]
    assert obstacles(V1, V2) == []


def test_what_is_gone_or_comes_after_something_else_is_said_and_stands_in_the_way() -> None:
    assert said(V1, ALTERED) == [
        "~ assign: needs nothing (before: charge); is read_only (before: pivot)",
        "~ reserve: needs assign (before: nothing)",
        "- charge: compensatable, sends payments.payment.charge.v1, needs reserve",
        "- (completed): publishes shop.order.confirmed.v1, needs assign",
        "- (compensated): publishes shop.order.rejected.v1",
    ]
    assert obstacles(V1, ALTERED) == [
        "reserve, which an instance may have begun: needs assign (before: nothing)",
        "charge is gone, and an instance may have begun it",
        "assign, which an instance may have begun: needs nothing (before: charge); is read_only (before: pivot)",
    ]


def test_a_node_that_is_gone_is_an_obstacle_on_the_way_back() -> None:
    assert obstacles(V2, V1) == ["mail is gone, and an instance may have begun it"]


def test_what_a_command_is_and_how_it_is_undone_is_said() -> None:
    old = {"a": {"form": "step", "command": {"type": "x.v1", "topic": "t", "replies": ["r"]}, "undo": None}}
    new = {
        "a": {
            "form": "step",
            "command": {"type": "x.v2", "topic": "u", "replies": ["r", "s"]},
            "undo": {"command": {"type": "y.v1"}, "built_in": False},
            "guarded": True,
        }
    }

    assert said(old, new) == [
        "~ a: sends x.v2 (before: x.v1); sends to topic u (before: t); is answered r, s (before: r); "
        "is undone now, by y.v1; guarded is True (before: nothing)"
    ]
    assert "is no longer undone" in said(new, old)[0]


def test_the_ends_may_change_and_the_start_may_not_be_taken_away() -> None:
    old = {
        "(flow)": {"form": "saga", "starts": [{"type": "a.v1"}, {"type": "b.v1"}]},
        "(completed)": {"needs": [], "events": [{"type": "done.v1"}]},
    }
    new = {"(flow)": {"form": "flow", "starts": [{"type": "a.v1"}]}, "(compensated)": {"events": [{"type": "no.v1"}]}}

    assert said(old, new) == [
        "~ (flow): is a flow (before: saga); starts on a.v1 (before: a.v1, b.v1)",
        "+ (compensated): publishes no.v1",
        "- (completed): publishes done.v1",
    ]
    assert obstacles(old, new) == [
        "it was a saga, and is a flow",
        "it no longer starts on b.v1, which an instance keeps",
    ]
    assert obstacles(old, {**old, "(completed)": {"events": []}}) == []


def test_of_a_state_machine_states_and_their_transitions_are_compared() -> None:
    old = definition_of(Parcel).parts
    moving: dict[str, Any] = dict(old["moving"])
    moving["transitions"] = [one for one in moving["transitions"] if one["on"] != "after:0"]
    new = {name: moving if name == "moving" else part for name, part in old.items() if name != "lost"}

    assert said(old, new) == ["~ moving: transitions without after:0 -> lost", "- lost: state"]
    assert said(new, old) == ["~ moving: transitions with after:0 -> lost", "+ lost: state"]
    assert obstacles(old, new) == [
        "moving, which an instance may have begun: transitions without after:0 -> lost",
        "lost is gone, and an instance may have begun it",
    ]


class Ordered(Saga, name="ordered"):
    order = starts_on(OrderPlaced)

    @step(undo=Undo)
    def reserve(self) -> ReserveItems:
        return ReserveItems(order_id=self.order.order_id, items=[])

    @step(undo=Undo)
    def charge(self) -> ChargePayment:
        return ChargePayment(order_id=self.order.order_id, amount_cents=1)


class Reordered(Saga, name="ordered"):
    order = starts_on(OrderPlaced)

    @step(undo=Undo)
    def charge(self) -> ChargePayment:
        return ChargePayment(order_id=self.order.order_id, amount_cents=1)

    @step(undo=Undo)
    def reserve(self) -> ReserveItems:
        return ReserveItems(order_id=self.order.order_id, items=[])


def test_steps_go_by_their_names_and_not_by_their_places() -> None:
    """Hazard: an index in the state makes the next step another one when the class changes."""
    assert definition_of(Reordered).digest == definition_of(Ordered).digest
    play = Play(Ordered, PLACED)
    play.answer("charge", Charged(order_id="o-1", amount_cents=1))

    play.definition = definition_of(Reordered)
    play.answer("reserve", OutOfStock(order_id="o-1", sku="ramen"))

    assert play.phases() == ["charge/undo"]
