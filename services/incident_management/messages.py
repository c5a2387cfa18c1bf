"""What do monitoring, people, the incident and the pager say to each other?"""

from typing import Literal, Never

from orchestra import Command, Done, Event, Key


class AlarmRaised(Event, type="ops.alarm.raised.v1", topic="ops.incidents"):
    incident_id: Key[str]
    system: str
    severity: Literal[1, 2]


# what people say


class IncidentAcknowledged(Event, type="ops.incident.acknowledged.v1", topic="ops.people"):
    incident_id: Key[str]
    by: str


class IncidentHandedOver(Event, type="ops.incident.handed-over.v1", topic="ops.people"):
    incident_id: Key[str]
    to: str


class IncidentSolved(Event, type="ops.incident.solved.v1", topic="ops.people"):
    incident_id: Key[str]


class AlarmCameBack(Event, type="ops.alarm.came-back.v1", topic="ops.people"):
    incident_id: Key[str]


# what the incident tells


class IncidentEscalated(Event, type="ops.incident.escalated.v1", topic="ops.incidents"):
    incident_id: Key[str]
    level: int


class IncidentClosed(Event, type="ops.incident.closed.v1", topic="ops.incidents"):
    incident_id: Key[str]
    owner: str | None
    level: int
    """How far up it went."""


# pager


class NobodyOnCall(Event, type="pager.page.nobody-on-call.v1"):
    pass


class Page(Command[Done, NobodyOnCall], type="pager.page.send.v1", topic="pager.commands"):
    incident_id: Key[str]
    system: str
    level: int


class StandDown(Command[Done, Never], type="pager.page.stand-down.v1", topic="pager.commands"):
    """Somebody has it: whoever was paged may go back to sleep."""

    incident_id: Key[str]
