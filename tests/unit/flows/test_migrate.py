"""Does a newer version take over what it can, exactly as it stands, and nothing else?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestra.errors import DefinitionError
from orchestra.events.message import Undo
from orchestra.flows.decision import Decision, Migrating
from orchestra.flows.saga import Flow, Saga, definition_of, starts_on, step
from tests.unit.flows.play import Play
from tests.unit.flows.shop import (
    PLACED,
    CardDeclined,
    Charged,
    ChargePayment,
    DriverAssigned,
    FoodOrder,
    ItemsReserved,
    OrderPlaced,
    ReserveItems,
)
from tests.unit.flows.shop_versions import Altered, FoodOrderV2, SendMail

RESERVED = ItemsReserved(order_id="o-1")
CHARGED = Charged(order_id="o-1", amount_cents=2500)
ASSIGNED = DriverAssigned(order_id="o-1", driver_id="d")


class Follows(FoodOrderV2, name="food-order", version=3, migrates=(FoodOrder, FoodOrderV2)):
    """As version 2; and something else is done beside the mail."""

    @step(after=FoodOrderV2.assign, kind="retriable")
    def count(self) -> ReserveItems:
        return ReserveItems(order_id="count", items=[])


def takes_over(play: Play, flow: type[Flow] = Follows) -> Decision | None:
    """The decision to take the instance over, which then goes on under the newer version."""
    definition = definition_of(flow)
    assert isinstance(definition, Migrating)
    before = json.dumps(play.last.state)
    decision = definition.take_over(play.definition.version, json.loads(before), now=play.now)
    if decision is not None:
        assert json.loads(json.dumps(decision.state))["nodes"].items() >= json.loads(before)["nodes"].items()
        play.definition = definition
        play._take(decision)
    return decision


def until_assigned(flow: type[Flow]) -> Play:
    play = Play(flow, PLACED)
    for name, reply in (("reserve", RESERVED), ("charge", CHARGED), ("assign", ASSIGNED)):
        play.answer(name, reply)
    return play


def test_an_instance_goes_on_where_it_stands() -> None:
    play = Play(FoodOrder, PLACED)
    play.answer("reserve", RESERVED)
    [timer] = play.last.timers

    decision = takes_over(play)

    assert decision is not None
    assert play.whats() == ["flow.migrated"]
    assert list(decision.timers) == [timer._replace(delay=60.0)]  # as the new version has it
    assert not decision.messages
    play.answer("charge", CHARGED)
    play.answer("assign", ASSIGNED)
    assert sorted(play.types()) == ["inventory.items.reserve.v1", "shop.mail.send.v1"]


def test_what_is_new_and_can_begin_does_and_says_the_new_version() -> None:
    play = until_assigned(FoodOrderV2)

    takes_over(play)

    assert play.whats() == ["flow.migrated", "step.started"]
    assert play.phases() == ["count/action"]
    [sent] = play.last.messages
    assert sent.event.get("flowversion") == "3"
    assert sent.event.get("effectid") == "food-order/o-1/0/count/action/0"


def test_an_instance_that_is_being_undone_stays() -> None:
    play = Play(FoodOrder, PLACED)
    play.answer("reserve", RESERVED)
    play.answer("charge", CardDeclined(order_id="o-1", reason="no money"))

    assert play.status == "compensating"
    assert takes_over(play) is None


def test_an_instance_that_is_over_stays() -> None:
    play = until_assigned(FoodOrder)

    assert play.status == "completed"
    assert takes_over(play) is None


def test_a_version_that_is_not_named_stays() -> None:
    play = Play(FoodOrder, PLACED)

    assert takes_over(play, FoodOrderV2) is None
    definition = definition_of(Follows)
    assert isinstance(definition, Migrating)
    assert definition.take_over(7, play.last.state, now=play.now) is None


def test_a_late_answer_of_before_is_taken_after_it() -> None:
    play = Play(FoodOrder, PLACED)
    play.answer("reserve", RESERVED)
    play.time_out("charge")
    takes_over(play)

    play.answer("charge", CHARGED, nth=0)

    assert play.statuses()["charge"] == "done"


# ---- what cannot be


def made(base: type[Flow] = FoodOrderV2, **keywords: Any) -> type[Flow]:
    return type(Flow)("New", (base,), {}, **{"name": "food-order", "version": 9, **keywords})


def test_an_altered_node_is_refused_with_the_reason_and_the_remedy() -> None:
    with pytest.raises(DefinitionError) as caught:
        made(migrates=(Altered,))

    assert str(caught.value) == (
        "New: migrates: Altered: instances of version 1 could not go on under version 9: assign, which an instance "
        "may have begun: needs charge (before: nothing); is pivot (before: read_only). And reserve, which an instance "
        "may have begun: needs nothing (before: assign). Leave Altered out of migrates, and keep it in the "
        "coordinator's flows until its instances have ended"
    )


class Other(Saga, name="other"):
    order = starts_on(OrderPlaced)

    @step(undo=Undo)
    def charge(self) -> ChargePayment:
        return ChargePayment(order_id="1", amount_cents=1)


@pytest.mark.parametrize(
    ("migrates", "mistake"),
    [
        ((Other,), "Other is flow 'other', and this is 'food-order'"),
        ((Follows,), "Follows is version 3, and this is version 2; name older versions"),
        ((FoodOrder, FoodOrder), "FoodOrder: version 1 is there twice"),
        ((Saga,), "which is no flow's class; name older versions"),
        (("FoodOrder",), "names 'FoodOrder', which is no flow's class"),
    ],
)
def test_what_is_no_older_version_of_this_flow_is_refused(migrates: Any, mistake: str) -> None:
    with pytest.raises(DefinitionError, match=mistake):
        made(version=2, migrates=migrates)


def test_a_mail_is_what_is_new() -> None:
    assert definition_of(Follows).answers("shop.mail.send.v1").command is SendMail
