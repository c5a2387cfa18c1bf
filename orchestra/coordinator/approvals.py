"""Which decisions do the instances of a coordinator wait for? The read side: it writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from orchestra.coordinator.deployed import Flows
from orchestra.coordinator.instances import fold_shards
from orchestra.coordinator.names import Names
from orchestra.coordinator.record import PARKED, QUEUED, Instance, decode_instance, value_key
from orchestra.flows.decision import Status
from orchestra.flows.pending import pending_approvals
from orchestra.transport.port import Transport

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
    for shard in await fold_shards(transport, names):
        for instance, record in shard.newest.items():
            if (record.header("orchestra-status") or b"").decode() not in _NO_STATE:
                found += _waiting(decode_instance(instance, record.value or b""), flows, shard.values)
    return sorted(found, key=lambda one: (one.since, one.instance, one.step))


def _waiting(instance: Instance, flows: Flows, stored: Mapping[str, bytes]) -> list[WaitingApproval]:
    definition = flows.find(instance.flow, instance.version)
    if definition is None or instance.state is None:
        return []

    def value(name: str) -> bytes:
        return stored[value_key(instance.id, instance.run, name)]

    about = (definition.start_event(instance.state, values=value).data or b"").decode(errors="replace")
    return [
        WaitingApproval(instance.id, one.step, one.roles, one.since, one.until, about, instance.label == PARKED)
        for one in pending_approvals(definition, instance.state)
    ]
