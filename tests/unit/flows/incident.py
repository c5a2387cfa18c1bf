"""An incident: whoever is on call is paged, and if nobody answers the next ones are, sooner when it is severe."""

from __future__ import annotations

from datetime import timedelta

from orchestra import Command, Data, Done, Event, Key, Retry, StateMachine, starts_on, state


class AlarmRaised(Event, type="ops.alarm.raised.v1", topic="ops"):
    incident_id: Key[str]
    severity: int


class Acknowledged(Event, type="ops.incident.acknowledged.v1", topic="ops.people"):
    incident_id: Key[str]
    by: str


class HandedOver(Event, type="ops.incident.handed-over.v1", topic="ops.people"):
    incident_id: Key[str]
    to: str


class Solved(Event, type="ops.incident.solved.v1", topic="ops.people"):
    incident_id: Key[str]


class Reopened(Event, type="ops.incident.reopened.v1", topic="ops.people"):
    incident_id: Key[str]


class IncidentEscalated(Event, type="ops.incident.escalated.v1", topic="ops"):
    incident_id: Key[str]
    level: int


class IncidentClosed(Event, type="ops.incident.closed.v1", topic="ops"):
    incident_id: Key[str]
    escalations: int
    owner: str | None


class NobodyOnCall(Event, type="pager.page.nobody.v1"):
    pass


class Page(Command[Done, NobodyOnCall], type="pager.page.v1", topic="pager.commands"):
    incident_id: Key[str]
    level: int


class IncidentData(Data):
    level: int = 1
    owner: str | None = None
    reminders: int = 0


class Incident(StateMachine[IncidentData], name="incident", version=1, unexpected="reject"):
    """Somebody must look at it, and the longer nobody does, the more important they are."""

    alarm = starts_on(AlarmRaised)

    unsolved = state(initial=True)
    unowned = state(unsolved, initial=True)
    first_line = state(unowned, initial=True)
    second_line = state(unowned)
    management = state(unowned)
    owned = state(unsolved)
    solved = state()
    closed = state(final=True)

    def patience(self) -> timedelta:
        return timedelta(minutes=5 if self.alarm.severity == 1 else 30)

    @first_line.entry(retry=Retry(attempts=3, first="1s"), timeout="10s")
    def page_first(self) -> Page:
        return Page(incident_id=self.alarm.incident_id, level=1)

    page_first.rejected(to=second_line)
    page_first.failed(to=second_line)

    @second_line.entry(timeout="10s")
    def page_second(self) -> Page:
        return Page(incident_id=self.alarm.incident_id, level=2)

    page_second.failed(to=management)

    @management.entry
    def tell_management(self) -> tuple[IncidentData, IncidentEscalated]:
        data = self.data.model_copy(update={"reminders": self.data.reminders + 1})
        return data, IncidentEscalated(incident_id=self.alarm.incident_id, level=3)

    @first_line.after(patience, to=second_line)
    @second_line.after(patience, to=management)
    def escalate(self) -> list[IncidentData | IncidentEscalated]:
        level = self.data.level + 1
        event = IncidentEscalated(incident_id=self.alarm.incident_id, level=level)
        return [self.data.model_copy(update={"level": level}), event]

    management.after("1h", to=management)

    @unowned.on(Acknowledged, to=owned)
    def take(self, acknowledged: Acknowledged) -> IncidentData:
        return self.data.model_copy(update={"owner": acknowledged.by})

    @owned.on(HandedOver)
    def hand_over(self, handed: HandedOver) -> IncidentData:
        return self.data.model_copy(update={"owner": handed.to})

    unowned.defer(HandedOver)
    owned.ignore(Acknowledged)
    owned.after("8h", to=second_line)
    unsolved.on(Solved, to=solved)
    solved.on(Reopened, to=unsolved)
    solved.after("1d", to=closed)

    @closed.entry
    def close(self) -> IncidentClosed:
        return IncidentClosed(
            incident_id=self.alarm.incident_id, escalations=self.data.level - 1, owner=self.data.owner
        )
