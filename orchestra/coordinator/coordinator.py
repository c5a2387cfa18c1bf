"""How is a coordinator declared?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Any, Self

from orchestra.coordinator.deployed import Flows
from orchestra.coordinator.exchange import Limits
from orchestra.coordinator.names import Names
from orchestra.duration import Duration, seconds
from orchestra.errors import DefinitionError
from orchestra.flows.decision import Definition, Migrating
from orchestra.flows.machine.declare import StateMachine
from orchestra.flows.saga import Flow, definition_of
from orchestra.settings import Settings
from orchestra.transport.port import TopicSpec

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_DAY_MS = 86_400_000
_HEADER_BYTES = 16 * 1024
"""What a record may have beside its value."""


class Coordinator:
    """The process that advances the instances of some flows: ``Coordinator("food", flows=[FoodOrder])``.

    Give it to an ``App``, or name it in ``orchestra run``. Several processes of one coordinator share its shards.

    Args:
        name: of its topics (``<name>.inbox`` and others) and consumer groups; ``a-z 0-9 . _ -``.
        flows: saga and flow classes. Keep an old version beside the new one until its instances have ended.
        partitions: shards, fixed when the topics are created. Default 8.
        max_running: instances that run at a time in one shard; further starts are queued, durably. Default 1000.
        remember: how long a finished instance answers a repeated start or outcome. Default "30d"; keep it above the
            retention of whatever may be sent again.
        early: how long an event is kept that comes for an instance before its start. Default "1h"; then it is a dead
            letter. At most 100 for an instance.
        outcome_bytes: a larger outcome or event parks its instance. Default 128 KiB.
        instance_bytes: an instance whose record would be larger is parked. Default 512 KiB.

    Raises:
        DefinitionError: names the argument that cannot work.
    """

    def __init__(
        self,
        name: str,
        *,
        flows: Sequence[type[Flow] | type[StateMachine[Any]] | Definition],
        partitions: int = 8,
        max_running: int = 1000,
        remember: Duration = "30d",
        early: Duration = "1h",
        outcome_bytes: int = 128 * 1024,
        instance_bytes: int = 512 * 1024,
    ) -> None:
        self.name = name
        self.partitions = partitions
        self.outcome_bytes = outcome_bytes
        self.limits = Limits(max_running, seconds(remember), instance_bytes, partitions, early=seconds(early))
        self.definitions = [flow if not isinstance(flow, type) else definition_of(flow) for flow in flows]
        self._check()
        self.definitions += _taken_over(self.definitions)
        self.flows = Flows(self.definitions)

    def __repr__(self) -> str:
        return f"Coordinator({self.name!r})"

    def _check(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise DefinitionError(f"Coordinator({self.name!r}): a name is made of a-z 0-9 . _ -, at most 100 of them")
        for what, value in (("partitions", self.partitions), ("max_running", self.limits.max_running)):
            if value < 1:
                raise DefinitionError(f"{self}: {what}={value} is below 1")
        if not 1024 <= self.outcome_bytes <= self.limits.instance_bytes <= 768 * 1024:
            raise DefinitionError(f"{self}: needs 1 KiB <= outcome_bytes <= instance_bytes <= 768 KiB")
        if not self.definitions:
            raise DefinitionError(f"{self}: flows is empty; name at least one flow")
        seen: set[tuple[str, int]] = set()
        for definition in self.definitions:
            version = (definition.name, definition.version)
            if version in seen:
                raise DefinitionError(f"{self}: flow {definition.name} version {definition.version} is there twice")
            if "/" in definition.name or definition.name.startswith("!"):
                raise DefinitionError(
                    f"{self}: flow {definition.name!r}: a name has no '/', and does not begin with '!'"
                )
            seen.add(version)
        self._check_calls()

    def _check_calls(self) -> None:
        """A flow that is called runs in the coordinator of its caller: they talk through one inbox."""
        here = {definition.name for definition in self.definitions}
        for definition in self.definitions:
            for name in definition.calls:
                if name not in here:
                    raise DefinitionError(
                        f"{self}: flow {definition.name} calls {name}, which is not among its flows; add it to them"
                    )

    def with_partitions(self, partitions: int) -> Self:
        """The same coordinator with so many shards, where topics are made anew: a simulation needs no eight."""
        other = copy(self)
        other.partitions = partitions
        other.limits = replace(self.limits, partitions=partitions)
        other._check()
        return other

    def needed_topics(self, settings: Settings) -> list[TopicSpec]:
        """Every topic that it reads or writes, as it must be."""
        names = Names.of(self.name, settings)
        shared: set[str] = set()
        for each in self.definitions:
            shared |= {*each.starts_on.values(), *each.listens_to.values(), *each.topics}
        return [
            TopicSpec(
                names.inbox,
                self.partitions,
                {"cleanup.policy": "delete", "message.timestamp.type": "LogAppendTime", "retention.ms": "-1"},
                record_bytes=self.outcome_bytes + _HEADER_BYTES,
            ),
            TopicSpec(
                names.state,
                self.partitions,
                {"cleanup.policy": "compact", "delete.retention.ms": str(_DAY_MS)},
                record_bytes=self.limits.instance_bytes + _HEADER_BYTES,
            ),
            TopicSpec(names.journal, self.partitions, _kept(365)),
            TopicSpec(names.alerts, self.partitions, _kept(90)),
            TopicSpec(names.dead_letters, self.partitions, _kept(30)),
            *(TopicSpec(settings.topic(topic)) for topic in sorted(shared)),
        ]


def _taken_over(definitions: Sequence[Definition]) -> list[Definition]:
    """Versions that need not be named: what is being undone on one of them still ends there."""
    here = {(one.name, one.version) for one in definitions}
    olds = [old for one in definitions if isinstance(one, Migrating) for old in one.migrates]
    return list({(old.name, old.version): old for old in olds if (old.name, old.version) not in here}.values())


def _kept(days: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(days * _DAY_MS)}
