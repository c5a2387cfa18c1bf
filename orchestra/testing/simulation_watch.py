"""What can be seen from outside while a simulation runs? Every record that is stored, and what it must mean.

The watch stands at the broker and knows nothing of the processes: what it finds wrong is wrong for everybody.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from orchestra.clock import Clock
from orchestra.coordinator.names import Names
from orchestra.coordinator.record import RESERVED
from orchestra.errors import OrchestraError
from orchestra.transport.memory_cluster import MemoryCluster
from orchestra.transport.memory_log import Writer
from orchestra.transport.port import Outgoing, Partition

_IDS: Final = re.compile(rb'"id":"([^"]+)"')


class Violation(OrchestraError):  # noqa: N818  # it is what was found, and no error of this code
    """Something that must never be, was. ``rule``: a short stable word for which."""

    code = "violation"

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(f"{rule}: {what}")
        self.rule = rule


class Event(NamedTuple):
    """One thing of a run's history, for people: a fault, a word of the story, or a stored record (``record``)."""

    at: float
    now: datetime
    who: str
    what: str
    record: Outgoing | None = None
    partition: Partition | None = None
    offset: int = -1


@dataclass(slots=True)
class Effect:
    """What was seen of one effect."""

    id: str
    command_type: str
    flow: str
    step: str
    phase: str
    commands: list[str] = field(default_factory=list[str])
    """Ids of the messages that asked for it, repeats included."""
    answers: dict[tuple[str, bytes | None], int] = field(default_factory=dict[tuple[str, bytes | None], int])
    """(type, data) of each answer -> how often it came."""


@dataclass(slots=True)
class Standing:
    """The newest state record of an instance."""

    status: bytes
    value: bytes
    shard: int


class WatchedCluster(MemoryCluster):
    """A memory cluster that tells a watch of every record that it stores."""

    def __init__(self, clock: Clock, partitions: int) -> None:
        super().__init__(clock=clock, partitions=partitions)
        self.on_stored: Callable[[Outgoing, Partition, int], None] = lambda record, partition, offset: None

    def append(self, record: Outgoing, partition: Partition, writer: Writer | None = None) -> int:
        end = self.log(partition).end
        offset = super().append(record, partition, writer)
        if offset == end:  # else a broker has recognised a repeat, and stored nothing
            self.on_stored(record, partition, offset)
        return offset


class Watch:
    """Sees what is stored, in the order in which it is.

    Attributes:
        history: everything, for people and for the digest.
        effects: by effect id.
        standing: coordinator -> instance -> its newest record.
        violation: the first thing that was wrong.
    """

    def __init__(self, clock: Clock, coordinators: Mapping[str, Names]) -> None:
        self.history: list[Event] = []
        self.effects: dict[str, Effect] = {}
        self.standing: dict[str, dict[str, Standing]] = {name: {} for name in coordinators}
        self.violation: Violation | None = None
        self.changes = 0
        """Records that were stored and mean that something goes on."""
        self._clock = clock
        self._state_of = {names.state: name for name, names in coordinators.items()}
        self._decided: set[bytes] = set()
        self._claims: dict[Partition, int] = defaultdict(lambda: -1)
        self._places: dict[Partition, tuple[int, int]] = {}

    def say(self, who: str, what: str) -> None:
        """Something that happened and is no record."""
        self.history.append(Event(self._clock.elapsed(), self._clock.now(), who, what))

    def broken(self, rule: str, what: str) -> None:
        """Something is wrong."""
        if self.violation is None:
            self.violation = Violation(rule, what)
            self.say("!!", str(self.violation))

    def stored(self, record: Outgoing, partition: Partition, offset: int) -> None:
        """A record was stored."""
        self.history.append(Event(self._clock.elapsed(), self._clock.now(), "", "", record, partition, offset))
        if (coordinator := self._state_of.get(partition.topic)) is not None:
            self._state(coordinator, record, partition, offset)
            return
        self.changes += 1
        headers = dict(record.headers)
        effect_id = headers.get("ce_effectid")
        if effect_id is None:
            return
        if "ce_replyto" in headers:
            self._command(effect_id.decode(), headers, partition)
        elif (effect := self.effects.get(effect_id.decode())) is not None:
            answer = ((headers.get("ce_type") or b"").decode(), record.value)
            effect.answers[answer] = effect.answers.get(answer, 0) + 1

    def _command(self, effect_id: str, headers: Mapping[str, bytes | None], partition: Partition) -> None:
        def text(name: str) -> str:
            return (headers.get(name) or b"").decode()

        effect = self.effects.get(effect_id)
        if effect is None:
            effect = self.effects[effect_id] = Effect(
                effect_id, text("ce_type"), text("ce_flowid"), text("ce_flowstep"), text("ce_flowphase")
            )
        effect.commands.append(text("ce_id"))
        if headers.get("ce_flowid") and (headers.get("ce_id") or b"") not in self._decided:
            self.broken(
                "command before its decision",
                f"{text('ce_type')} for {effect_id} is on {partition.topic}, and no state record holds it",
            )

    def _state(self, coordinator: str, record: Outgoing, partition: Partition, offset: int) -> None:
        key = (record.key or b"").decode()
        if key.startswith(f"{RESERVED}claim/"):
            if record.value is not None:
                self._claims[partition] = offset
            self.changes += 1
            return
        headers = dict(record.headers)
        self._check_place(headers, record, partition, offset)
        if key.startswith(RESERVED):
            return
        self.changes += 1
        if record.value is None:
            self.standing[coordinator].pop(key, None)
            return
        status = headers.get("orchestra-status") or b""
        before = self.standing[coordinator].get(key)
        if before is not None and before.status == b"compensated" and status != before.status:
            self.broken("end that was none", f"{key} was {before.status.decode()}, and is {status.decode()}")
        self.standing[coordinator][key] = Standing(status, record.value, partition.number)
        self._decided.update(_IDS.findall(record.value, record.value.find(b"\n") + 1))

    def _check_place(
        self, headers: Mapping[str, bytes | None], record: Outgoing, partition: Partition, offset: int
    ) -> None:
        """Of every record of a shard: its claim is the newest, and neither position nor mark falls."""
        claim = int((headers.get("orchestra-claim") or b"0/-1").rpartition(b"/")[2])
        where = f"{partition.topic}[{partition.number}]@{offset}"
        if claim < self._claims[partition]:
            self.broken(
                "fence breached", f"{where} names the claim at {claim} behind that at {self._claims[partition]}"
            )
        self._claims[partition] = claim
        place = (int(headers.get("orchestra-position") or -1), int(headers.get("orchestra-emitted") or -1))
        last = self._places.get(partition, (-1, -1))
        if place[0] < last[0] or place[1] < last[1]:
            self.broken("place fell", f"{where} says (position, emitted) {place}, after {last}")
        self._places[partition] = place
