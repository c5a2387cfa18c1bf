"""``make demo-incident-management``: a bad night; a minute takes 0.3 seconds, and not everybody hears the telephone.

Environment: see ``services/demo_kit/play.py``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field

from aiokafka import ConsumerRecord

from orchestra import Bus, Settings, connect
from services.demo_kit.pace import publish
from services.demo_kit.play import play
from services.demo_kit.progress import Progress, follow
from services.demo_kit.reconcile import Books, Finding, settle
from services.demo_kit.stage import Stage
from services.incident_management.make_incidents import Case, cases
from services.incident_management.messages import (
    AlarmCameBack,
    IncidentAcknowledged,
    IncidentHandedOver,
    IncidentSolved,
)
from services.incident_management.roster import on_call

APP = "services.incident_management.app"


async def demo(stage: Stage) -> list[Finding]:
    night = {case.alarm.incident_id: case for case in cases()}
    alarms, books, news = [case.alarm for case in night.values()], Books(stage.data), News(stage.progress)
    stage.environment["INCIDENT_MINUTE_SECONDS"] = "0.3"
    async with stage.crew(APP, ["pager"], coordinator="incidents") as crew:
        stage.say(f"{len(alarms)} alarms go off; whoever hears the telephone sees to them\n")
        people = asyncio.create_task(People(books, night).work(stage.servers))
        await stage.show(
            crew,
            len(alarms),
            publish(stage.servers, alarms, stage.rate(4), lambda alarm: stage.progress.begin(alarm.incident_id)),
            follow(stage.servers, ["incidents.journal", "ops.incidents"], news.take),
        )
        findings = await settle(lambda: reconcile(books, news.closed, night))
        waiting = await stage.instances_waiting(f"{APP}:incidents")
        people.cancel()
        await asyncio.wait([people])
        if not people.cancelled():
            people.result()  # why they have stopped working
    levels = [len([one for one in news.closed.values() if one.level >= level]) for level in (2, 3)]
    stage.say(f"{levels[0]} incidents went to the second line, {levels[1]} of them up to the management")
    return [*findings, Finding("instances left waiting", 0, waiting)]


class People:
    """Look at their telephones, take what they heed, hand some of it over, and solve it. Some of it comes back."""

    def __init__(self, books: Books, night: dict[str, Case]) -> None:
        self._books, self._night = books, night
        self._heeded: set[str] = set()

    async def work(self, servers: str) -> None:
        async with connect(Settings(bootstrap_servers=servers), name="people") as bus, asyncio.TaskGroup() as busy:
            while True:
                rings = "select incident_id, level, person from pages where rings"
                for incident, level, person in self._books.rows("pager", rings):
                    case = self._night[str(incident)]
                    if case.alarm.incident_id not in self._heeded and int(str(level)) >= case.heeded_at:
                        self._heeded.add(case.alarm.incident_id)
                        busy.create_task(self._see_to(bus, case, str(person)))
                await asyncio.sleep(0.1)

    async def _see_to(self, bus: Bus, case: Case, person: str) -> None:
        incident = case.alarm.incident_id
        if case.handed_to is not None:  # the telephone was quicker than the click
            await bus.publish(IncidentHandedOver(incident_id=incident, to=case.handed_to))
        await bus.publish(IncidentAcknowledged(incident_id=incident, by=person))
        await asyncio.sleep(1.0)
        await bus.publish(IncidentSolved(incident_id=incident))
        if case.comes_back:
            await bus.publish(AlarmCameBack(incident_id=incident))
            await asyncio.sleep(1.0)
            await bus.publish(IncidentSolved(incident_id=incident))


@dataclass(frozen=True)
class Closed:
    owner: str | None
    level: int


@dataclass
class News:
    """What the topics say: how each incident was closed."""

    progress: Progress
    closed: dict[str, Closed] = field(default_factory=dict[str, Closed])

    def take(self, record: ConsumerRecord[bytes, bytes]) -> None:
        if record.topic == "incidents.journal":
            self.progress.take_journal(record)
        elif dict(record.headers).get("ce_type") == b"ops.incident.closed.v1":
            said = json.loads(record.value or b"{}")
            self.closed[said["incident_id"]] = Closed(said["owner"], said["level"])


def reconcile(books: Books, closed: dict[str, Closed], night: dict[str, Case]) -> list[Finding]:
    """Every incident was closed by somebody who had it, and every telephone that should have rung did."""
    reached = [one for one, found in closed.items() if found.level >= lowest_level(night[one])]
    owned = [one for one, found in closed.items() if found.owner in owners(night[one], found.level)]
    rang = {(str(one), int(str(level))) for one, level in books.rows("pager", "select incident_id, level from pages")}
    should = {
        (one, level)
        for one, found in closed.items()
        for level in range(1, found.level + 1)
        if on_call(night[one].alarm.system, level) is not None
    }
    return [
        Finding("incidents closed", len(night), len(closed)),
        Finding("went up to somebody who heeds it", len(night), len(reached)),
        Finding("belong to whoever took it, or was given it", len(night), len(owned)),
        Finding("telephones that rang, by level", len(should), len(rang & should)),
        Finding("telephones that rang without need", 0, len(rang - should)),
        Finding("telephones that still ring", 0, books.number("pager", "select count(*) from pages where rings")),
    ]


def lowest_level(case: Case) -> int:
    """Where nobody is on call, nobody heeds it."""
    return next(level for level in (1, 2, 3) if level >= case.heeded_at and on_call(case.alarm.system, level))


def owners(case: Case, level: int) -> set[str | None]:
    """Who may have it in the end."""
    if case.handed_to is not None:
        return {case.handed_to}
    return {on_call(case.alarm.system, each) for each in range(case.heeded_at, level + 1)} - {None}


if __name__ == "__main__":
    sys.exit(play("incident management", demo))
