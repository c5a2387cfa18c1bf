"""Who has to look at an incident, and what if they do not?"""

from datetime import timedelta

from orchestra import Data, StateMachine, starts_on, state
from services.incident_management.messages import (
    AlarmCameBack,
    AlarmRaised,
    IncidentAcknowledged,
    IncidentClosed,
    IncidentEscalated,
    IncidentHandedOver,
    IncidentSolved,
    Page,
    StandDown,
)
from services.incident_management.settings import PATIENCE, QUIET_FOR, REMIND_AFTER, SOLVED_WITHIN


class IncidentData(Data):
    level: int = 1
    owner: str | None = None


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

    # nobody has it: whoever is on call is paged, and then the next ones, sooner when it is severe

    def patience(self) -> timedelta:
        return PATIENCE[self.alarm.severity]

    first_line.after(patience, to=second_line)
    second_line.after(patience, to=management)
    management.after(REMIND_AFTER, to=management)  # to itself: everything is done that is done on entry

    def page(self, level: int) -> Page:
        return Page(incident_id=self.alarm.incident_id, system=self.alarm.system, level=level)

    @first_line.entry(timeout="1m")
    def page_first_line(self) -> Page:
        return self.page(1)

    page_first_line.failed(to=second_line)  # nobody is on call, or the page did not get through

    @second_line.entry
    def escalate_to_second_line(self) -> tuple[IncidentData, IncidentEscalated]:
        return self.escalated_to(2)

    @second_line.entry(timeout="1m")
    def page_second_line(self) -> Page:
        return self.page(2)

    page_second_line.failed(to=management)

    @management.entry
    def escalate_to_management(self) -> tuple[IncidentData, IncidentEscalated]:
        return self.escalated_to(3)

    @management.entry(timeout="1m")
    def page_management(self) -> Page:
        return self.page(3)

    page_management.failed()  # there will be a reminder

    def escalated_to(self, level: int) -> tuple[IncidentData, IncidentEscalated]:
        data = self.data.model_copy(update={"level": level})
        return data, IncidentEscalated(incident_id=self.alarm.incident_id, level=level)

    @unowned.exit
    def stand_down(self) -> StandDown:
        return StandDown(incident_id=self.alarm.incident_id)

    # somebody has it

    @unowned.on(IncidentAcknowledged, to=owned)
    def take(self, acknowledged: IncidentAcknowledged) -> IncidentData:
        return self.data.model_copy(update={"owner": acknowledged.by})

    @owned.on(IncidentHandedOver)
    def hand_over(self, handed: IncidentHandedOver) -> IncidentData:
        return self.data.model_copy(update={"owner": handed.to})

    unowned.defer(IncidentHandedOver)  # it came before the acknowledgement, and holds once that is here
    owned.ignore(IncidentAcknowledged)  # the second one to answer the page
    owned.after(SOLVED_WITHIN, to=second_line)

    # it is solved, by whomever, until it comes back

    unsolved.on(IncidentSolved, to=solved)
    solved.on(AlarmCameBack, to=owned)
    solved.ignore(IncidentSolved, IncidentAcknowledged, IncidentHandedOver)
    solved.after(QUIET_FOR, to=closed)

    @closed.entry
    def close(self) -> IncidentClosed:
        return IncidentClosed(incident_id=self.alarm.incident_id, owner=self.data.owner, level=self.data.level)
