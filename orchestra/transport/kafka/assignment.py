"""When may records of a partition be handed out? The assignment gate, and who gets which partition.

aiokafka hands out records of a new assignment before ``on_partitions_assigned`` has returned, and takes completions of
an old one for the new. The gate has an epoch, one higher at each revocation and each assignment: whatever began under
another epoch does not count any more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar

from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

from orchestra.transport.port import Partition
from orchestra.transport.sharing import share_out


class Gate:
    """What is ours, since which epoch, and whether records may pass."""

    def __init__(self) -> None:
        self.epoch = 0
        self.owned: frozenset[Partition] = frozenset()
        self.paused: set[Partition] = set()
        """Paused by the user; a rebalance does not end that for a partition that stays."""
        self._before: frozenset[Partition] = frozenset()
        self._opened = asyncio.Event()

    @property
    def is_open(self) -> bool:
        return self._opened.is_set()

    async def wait_open(self) -> None:
        await self._opened.wait()

    def assign(self, partitions: Iterable[Partition]) -> int:
        """New partitions are ours, behind the shut gate. Gives the epoch to open it with."""
        self.shut()
        self.release()
        self.owned = frozenset(partitions)
        self.paused &= self._before & self.owned
        return self.epoch

    def open(self, epoch: int) -> bool:
        """Let records pass, unless the epoch is over."""
        if epoch == self.epoch:
            self._opened.set()
        return self.is_open

    def shut(self) -> None:
        """Let nothing pass; a new epoch begins. What is ours stays ours for its last commits."""
        self.epoch += 1
        self._opened.clear()

    def release(self) -> None:
        """Nothing is ours any more."""
        if self.owned:
            self._before, self.owned = self.owned, frozenset()


class SharingAssignor:
    """aiokafka's shape for an assignor. Evenly, and each partition where it was before, as far as that allows.
    ``together``: topics whose partitions of one number are one member's.

    One object per consumer: aiokafka's own sticky assignor keeps what a member has in a class attribute, which all
    consumers of a process share.
    """

    name: ClassVar[str] = "orchestra"

    def __init__(self, together: Collection[str] = ()) -> None:
        self._together = sorted(together)
        self._owned: dict[str, list[int]] = {}
        self._generation = 0

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """What this member tells whoever shares out."""
        note = json.dumps({"generation": self._generation, "owned": self._owned, "together": self._together}).encode()
        return ConsumerProtocolMemberMetadata(0, sorted(topics), note)

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """What this member got."""
        self._owned = {topic: list(numbers) for topic, numbers in assignment.assignment}
        self._generation = int(_read(assignment.user_data).get("generation", 0))

    def assign(
        self, cluster: Any, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Share out, as the one member that was chosen to."""
        topics = {name: frozenset(member.subscription) for name, member in members.items()}
        counts = {
            topic: len(cluster.partitions_for_topic(topic) or ()) for topic in frozenset[str]().union(*topics.values())
        }
        notes = {name: _read(member.user_data) for name, member in members.items()}
        generation = 1 + max((int(note.get("generation", 0)) for note in notes.values()), default=0)
        together = [frozenset[str](note.get("together", ())) for note in notes.values()]
        return {
            name: ConsumerProtocolMemberAssignment(0, _by_topic(mine), json.dumps({"generation": generation}).encode())
            for name, mine in share_out(topics, counts, _previous(notes), together).items()
        }


def _previous(notes: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Partition]]:
    """Who had what; when two say so, the one with the newer generation."""
    owners: dict[Partition, str] = {}
    for name in sorted(notes, key=lambda name: int(notes[name].get("generation", 0))):
        for topic, numbers in notes[name].get("owned", {}).items():
            owners.update({Partition(topic, number): name for number in numbers})
    previous: dict[str, list[Partition]] = {}
    for partition, name in owners.items():
        previous.setdefault(name, []).append(partition)
    return previous


def _by_topic(partitions: Collection[Partition]) -> list[tuple[str, list[int]]]:
    topics: dict[str, list[int]] = {}
    for topic, number in partitions:
        topics.setdefault(topic, []).append(number)
    return list(topics.items())


def _read(note: bytes | None) -> dict[str, Any]:
    """A member's note; empty where it is not one of ours."""
    try:
        read: object = json.loads(note or b"{}")
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}
