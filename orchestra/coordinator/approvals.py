"""Which decisions do the instances of a coordinator wait for? The read side: it writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestra.coordinator.deployed import Flows
from orchestra.coordinator.instances import newest_records
from orchestra.coordinator.names import Names
from orchestra.coordinator.record import PARKED, QUEUED, decode_instance
from orchestra.flows.decision import Definition, Json, Status
from orchestra.flows.pending import pending_approvals
from orchestra.transport.port import Record, Transport

_NO_STATE = frozenset({QUEUED, *(status.value for status in Status if status.is_final)})


@dataclass(frozen=True, slots=True)
class WaitingApproval:
    """A decision that an instance waits for.

    Attributes:
        instance: its id.
        step: which of its decisions.
        roles: who may take it.
        since, until: recorded times; ``until`` None: it waits for ever.
        about: the data of the event that started the instance.
        is_parked: the instance is parked: a decision is kept until it is released.
    """

    instance: str
    step: str
    roles: tuple[str, ...]
    since: datetime
    until: datetime | None
    about: str
    is_parked: bool


async def list_approvals(transport: Transport, names: Names, flows: Flows) -> list[WaitingApproval]:
    """Every decision that is waited for, the oldest first; of flows and versions that this program has.

    Raises:
        DecodeError, TopicError, UnreachableError: as ``list_instances``.
    """
    found: list[WaitingApproval] = []
    for instance, record in await newest_records(transport, names):
        if (record.header("orchestra-status") or b"").decode() not in _NO_STATE:
            found += _waiting(instance, record, flows)
    return sorted(found, key=lambda one: (one.since, one.instance, one.step))


def _waiting(instance_id: str, record: Record, flows: Flows) -> list[WaitingApproval]:
    instance = decode_instance(instance_id, record.value or b"")
    definition = flows.find(instance.flow, instance.version)
    if definition is None or instance.state is None:
        return []
    about = _about(definition, instance.state)
    return [
        WaitingApproval(instance_id, one.step, one.roles, one.since, one.until, about, instance.label == PARKED)
        for one in pending_approvals(definition, instance.state)
    ]


def _about(definition: Definition, state: Json) -> str:
    return (definition.start_event(state).data or b"").decode(errors="replace")
