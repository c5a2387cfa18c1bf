"""Which decisions does an instance wait for, and whose are they? Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from orchestra.flows.decide import CompiledFlow
from orchestra.flows.decision import Definition, Json
from orchestra.flows.graph import ApprovalNode
from orchestra.flows.machine.decide import CompiledMachine
from orchestra.flows.machine.instance import load_machine
from orchestra.flows.timer import from_micros
from orchestra.flows.waiting import WaitState, WaitStatus


@dataclass(frozen=True, slots=True)
class PendingApproval:
    """A decision that a person has to take.

    Attributes:
        step: which one of the instance's.
        roles: who may take it: the role that was asked, and those that it has escalated to.
        since, until: recorded times; ``until`` None: it waits for ever.
    """

    step: str
    roles: tuple[str, ...]
    since: datetime
    until: datetime | None


def pending_approvals(definition: Definition, state: Json) -> list[PendingApproval]:
    """In the order of the flow."""
    if isinstance(definition, CompiledFlow):
        return list(_of_flow(definition, state))
    if isinstance(definition, CompiledMachine):
        return list(_of_machine(definition, state))
    return []


def _of_flow(definition: CompiledFlow, state: Json) -> Iterator[PendingApproval]:
    instance = definition._load(state)
    for name, node in definition.graph.nodes.items():
        if not isinstance(node, ApprovalNode) or name not in instance.nodes:
            continue
        waiting = instance.nodes[name]
        if isinstance(waiting, WaitState) and waiting.status is WaitStatus.WAITING:
            called = [
                role
                for place, (_, role) in enumerate(node.escalations)
                if waiting.calls is None or waiting.calls[place][0] == 0
            ]
            until = None if waiting.due is None else from_micros(waiting.due)
            yield PendingApproval(name, (node.role, *called), from_micros(waiting.started), until)


def _of_machine(definition: CompiledMachine, state: Json) -> Iterator[PendingApproval]:
    machine = load_machine(state)
    for name, asks in definition.chart.asks.items():
        node = machine.nodes.get(name)
        if node is not None and node["s"] == "waiting":
            since = node["t"]
            assert isinstance(since, int)
            yield PendingApproval(name, (asks.role,), from_micros(since), None)
