"""Incident management: escalation as stories, and a night of alarms on its way through the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

import orchestra
from orchestra import Done
from orchestra.testing import Story, run
from orchestra.testing.memory import running_in_memory
from services.demo_kit.reconcile import Books
from services.incident_management.app import app
from services.incident_management.flow import Incident
from services.incident_management.make_incidents import INCIDENTS, lines
from services.incident_management.messages import (
    AlarmCameBack,
    AlarmRaised,
    IncidentAcknowledged,
    IncidentClosed,
    IncidentEscalated,
    IncidentHandedOver,
    IncidentSolved,
    NobodyOnCall,
    Page,
    StandDown,
)
from services.incident_management.roster import on_call
from tests.unit.services.conftest import until

ACKNOWLEDGED = IncidentAcknowledged(incident_id="i-1", by="ann")
HANDED_OVER = IncidentHandedOver(incident_id="i-1", to="emil")
SOLVED = IncidentSolved(incident_id="i-1")
CAME_BACK = AlarmCameBack(incident_id="i-1")


def incident(severity: int = 2) -> Story:
    return run(Incident, AlarmRaised.model_validate({"incident_id": "i-1", "system": "shop", "severity": severity}))


def page(level: int) -> Page:
    return Page(incident_id="i-1", system="shop", level=level)


def taken() -> Story:
    t = incident()
    t.expect(page(1)).reply(Done())
    t.publish(ACKNOWLEDGED)
    t.expect(StandDown).reply(Done())
    return t


def test_somebody_takes_it_and_solves_it() -> None:
    t = taken()
    t.publish(SOLVED)
    t.advance("30m")

    assert t.completed(IncidentClosed) == IncidentClosed(incident_id="i-1", owner="ann", level=1)
    t.nothing_sent()


def test_nobody_answers_and_it_goes_up_and_up() -> None:
    t = incident()
    t.expect(page(1)).reply(Done())
    t.advance("15m")
    assert t.published(IncidentEscalated).level == 2
    t.expect(page(2)).reply(Done())
    t.advance("15m")
    assert t.published(IncidentEscalated).level == 3
    t.expect(page(3)).reply(Done())

    t.advance("30m")

    assert t.published(IncidentEscalated).level == 3
    t.expect(page(3))


@pytest.mark.parametrize(("severity", "nearly"), [(1, "4m"), (2, "14m")])
def test_a_severe_one_is_less_patient(severity: int, nearly: str) -> None:
    t = incident(severity)
    t.expect(page(1)).reply(Done())

    t.advance(nearly)
    assert t.states[-1] == "first_line"
    t.advance("1m")
    assert t.states[-1] == "second_line"


def test_where_nobody_is_on_call_the_next_ones_are_paged_at_once() -> None:
    t = incident()

    t.expect(page(1)).reject(NobodyOnCall())

    t.expect(page(2))


def test_a_page_that_does_not_get_through_escalates() -> None:
    t = incident()

    t.expect(page(1)).times_out()

    t.expect(page(2))


def test_a_hand_over_that_comes_before_the_acknowledgement_holds() -> None:
    t = incident()
    t.publish(HANDED_OVER)
    t.publish(ACKNOWLEDGED)
    t.publish(SOLVED)
    t.expect(page(1)).reply(Done())
    t.expect(StandDown).reply(Done())
    t.advance("30m")

    assert t.completed(IncidentClosed).owner == "emil"


def test_the_second_one_to_acknowledge_changes_nothing() -> None:
    t = taken()

    t.publish(IncidentAcknowledged(incident_id="i-1", by="max"))
    t.publish(SOLVED)
    t.advance("30m")

    assert t.completed(IncidentClosed).owner == "ann"
    assert t.alerts == []


def test_one_that_is_not_solved_in_eight_hours_goes_to_others() -> None:
    t = taken()

    t.advance("8h")

    t.expect(page(2))


def test_one_that_comes_back_is_its_owners_again_and_is_not_closed() -> None:
    t = taken()
    t.publish(SOLVED)
    t.advance("29m")
    t.publish(CAME_BACK)
    t.advance("2m")
    assert t.states == ["unsolved", "owned"]

    t.publish(SOLVED)
    t.advance("30m")

    assert t.completed(IncidentClosed).owner == "ann"


def test_what_nobody_thought_of_raises_an_alert() -> None:
    t = incident()

    t.publish(CAME_BACK)

    assert [alert.code for alert in t.alerts] == ["event.rejected"]


def test_the_checked_in_incidents_are_the_generated_ones() -> None:
    assert INCIDENTS.read_text().splitlines() == lines(80, seed=4)


async def test_telephones_ring_until_somebody_has_it(data: Path) -> None:
    alarms = [
        AlarmRaised(incident_id=f"i-{number}", system=system, severity=1)
        for number, system in enumerate(("shop", "billing", "mail"))
    ]
    rings = "select count(*) from pages where rings"
    books = Books(data)

    async with running_in_memory(app) as log, orchestra.connect(transport=log) as bus:
        await bus.publish(*alarms)
        await until(lambda: books.number("pager", rings) == len(alarms))
        who = {
            str(incident): person for incident, person in books.rows("pager", "select incident_id, person from pages")
        }
        for incident, person in who.items():
            await bus.publish(IncidentAcknowledged(incident_id=incident, by=str(person)))
        await until(lambda: books.number("pager", rings) == 0)

    assert who == {"i-0": "ann", "i-1": on_call("billing", 2), "i-2": "dora"}
