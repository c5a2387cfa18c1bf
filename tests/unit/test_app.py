"""Is an app whose parts get in each other's way refused, with both named?"""

from __future__ import annotations

from typing import Never

import pytest

from orchestra.app import App
from orchestra.coordinator.coordinator import Coordinator
from orchestra.errors import DefinitionError
from orchestra.events.key import Key
from orchestra.events.message import Command, Done, Event
from orchestra.flows.saga import Saga, starts_on, step
from orchestra.service.service import Service


class Ordered(Event, type="t.app.ordered.v1", topic="t.app.orders"):
    order_id: Key[str]


class Ship(Command[Done, Never], type="t.app.ship.v1", topic="t.app.commands"):
    order_id: Key[str]


class Shipping(Saga, name="t-app-shipping", version=1):
    """Ship what was ordered."""

    order = starts_on(Ordered)

    @step(kind="retriable")
    def ship(self) -> Ship:
        return Ship(order_id=self.order.order_id)


def shipping(name: str = "shipping") -> Service:
    service = Service(name)

    @service.handles(Ship)
    async def ship(command: Ship) -> Done:
        return Done()

    return service


def counting(name: str = "counting") -> Service:
    service = Service(name)

    @service.on(Ordered)
    async def count(event: Ordered) -> None:
        pass

    return service


def test_an_app_holds_its_parts() -> None:
    service, coordinator = shipping(), Coordinator("food", flows=[Shipping])

    app = App(services=[service], coordinators=[coordinator])

    assert app.parts == (service, coordinator)
    assert repr(app) == "App(shipping, food)"


def test_an_empty_app_is_refused() -> None:
    with pytest.raises(DefinitionError, match="nothing to run"):
        App()


def test_a_thing_of_another_kind_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"App\(services=...\): Coordinator\('food'\) is no Service"):
        App(services=[Coordinator("food", flows=[Shipping])])  # type: ignore[list-item]


def test_two_services_of_one_name_are_refused() -> None:
    with pytest.raises(DefinitionError, match=r"2 parts are named 'same'.*rename"):
        App(services=[shipping("same"), counting("same")])


def test_a_service_and_a_coordinator_of_one_name_are_refused() -> None:
    with pytest.raises(DefinitionError, match="2 parts are named 'food'"):
        App(services=[shipping("food")], coordinators=[Coordinator("food", flows=[Shipping])])


def test_a_command_that_two_services_would_do_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"t\.app\.ship\.v1 is handled by service 'a' and by service 'b'"):
        App(services=[shipping("a"), shipping("b")])


def test_an_event_may_be_handled_by_several_services() -> None:
    assert len(App(services=[counting("a"), counting("b")]).services) == 2


def test_a_flow_that_two_coordinators_would_advance_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"'t-app-shipping' is in coordinator 'a' and in coordinator 'b'"):
        App(coordinators=[Coordinator("a", flows=[Shipping]), Coordinator("b", flows=[Shipping])])


def test_parts_and_apps_are_put_together_and_what_is_named_twice_is_there_once() -> None:
    ships, counts = shipping(), counting()

    app = App.of([App(services=[ships]), ships, counts])

    assert app.services == (ships, counts)


def test_parts_that_are_put_together_are_checked_against_each_other() -> None:
    with pytest.raises(DefinitionError, match="is handled by service"):
        App.of([App(services=[shipping("a")]), shipping("b")])
