"""Who of a consumer group reads which partition, in memory? Eager rebalances with generations, and committed offsets.

Life of a member: ``join`` -> ``assigned`` -> ``must_rejoin``: it gives up what it has -> ``join`` again. Whoever does
not come back within its rebalance timeout is put out, as a broker does it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextvars import Context

from orchestra.errors import CommitFailedError, RecordTooLargeError
from orchestra.transport.port import Committed, Partition
from orchestra.transport.sharing import share_out

_METADATA_BYTES = 4096


class Member:
    """One consumer, as its group sees it."""

    def __init__(
        self,
        name: str,
        topics: Collection[str],
        *,
        session_timeout: float,
        rebalance_timeout: float,
        together: Collection[str] = (),
    ) -> None:
        self.name = name
        self.topics = frozenset(topics)
        self.together = frozenset(together)
        self.session_timeout = session_timeout
        self.rebalance_timeout = rebalance_timeout
        self.generation = -1
        self.assigned: list[Partition] | None = None
        """What it got in the newest rebalance; None while it waits for the others."""
        self.must_rejoin = True
        """It must give up what it has and join (again); it may also have been put out."""
        self.news = asyncio.Event()
        """Set at every change of the two above."""


class Group:
    """One consumer group. ``partitions_of`` gives the number of partitions of a topic, or 0."""

    def __init__(self, name: str, partitions_of: Callable[[str], int]) -> None:
        self.name = name
        self.generation = 0
        self.committed: dict[Partition, Committed] = {}
        self.owned: dict[str, list[Partition]] = {}
        """Member -> partitions, as of the last completed rebalance."""
        self._partitions_of = partitions_of
        self._members: dict[str, Member] = {}
        self._is_rebalancing = False
        self._deadline: asyncio.TimerHandle | None = None
        self._evictions: dict[str, asyncio.TimerHandle] = {}

    @property
    def members(self) -> list[str]:
        return list(self._members)

    def join(self, member: Member) -> None:
        """Join, or come back during a rebalance. ``member.assigned`` is there once everybody is back."""
        self._members[member.name] = member
        member.must_rejoin = False
        member.assigned = None
        if not self._is_rebalancing:
            self._begin()
        self._complete_if_all_joined()

    def leave(self, member: Member) -> None:
        """The member's partitions go to the others. Idempotent."""
        self.heard(member)
        if self._members.get(member.name) is member:
            del self._members[member.name]
            self._call_back(member)
            if not self._is_rebalancing:
                self._begin()
            self._complete_if_all_joined()

    def silence(self, member: Member) -> None:
        """The member sends no more signs of life: it is put out when its session has timed out, unless it is heard."""
        if member.name in self._members and member.name not in self._evictions:
            loop = asyncio.get_running_loop()
            self._evictions[member.name] = loop.call_later(
                member.session_timeout, self.leave, member, context=Context()
            )

    def heard(self, member: Member) -> None:
        """The member lives after all."""
        if handle := self._evictions.pop(member.name, None):
            handle.cancel()

    def commit(self, member: Member, offsets: Mapping[Partition, Committed]) -> None:
        """Store the group's place.

        Raises:
            CommitFailedError: the member is out, or its generation is over (during a rebalance it still counts).
            RecordTooLargeError: a note is longer than 4 KiB.
        """
        if self._members.get(member.name) is not member or member.generation != self.generation:
            raise CommitFailedError(f"{self.name}: {member.name} of generation {member.generation} is out")
        for partition, committed in offsets.items():
            if len(committed.metadata.encode()) > _METADATA_BYTES:
                raise RecordTooLargeError(
                    f"{self.name}: the note for {partition} is longer than {_METADATA_BYTES} bytes"
                )
        self.committed.update(offsets)

    def _begin(self) -> None:
        self._is_rebalancing = True
        for member in self._members.values():
            if member.assigned is not None:
                self._call_back(member)
        patience = max((member.rebalance_timeout for member in self._members.values()), default=0.0)
        # Its own context: it is the brokers' timer, and rings though the member that began this dies meanwhile.
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(patience, self._put_out_the_late, context=Context())

    @staticmethod
    def _call_back(member: Member) -> None:
        member.must_rejoin = True
        member.news.set()

    def _put_out_the_late(self) -> None:
        for member in [member for member in self._members.values() if member.must_rejoin]:
            del self._members[member.name]
        self._complete_if_all_joined()

    def _complete_if_all_joined(self) -> None:
        if not self._is_rebalancing or any(member.must_rejoin for member in self._members.values()):
            return
        self._is_rebalancing = False
        if self._deadline is not None:
            self._deadline.cancel()
        self.generation += 1
        topics = {member.name: member.topics for member in self._members.values()}
        counts = {topic: self._partitions_of(topic) for topic in frozenset[str]().union(*topics.values())}
        self.owned = share_out(topics, counts, self.owned, [member.together for member in self._members.values()])
        for member in self._members.values():
            member.generation = self.generation
            member.assigned = self.owned[member.name]
            member.news.set()
