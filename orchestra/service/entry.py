"""What does a ledger say about an effect, and what must a session be able to do that keeps its ledger itself?"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from orchestra.service.outcome import Emitted


class State(StrEnum):
    """How an effect stands."""

    OPEN = "open"
    """Under way: seen only within its own transaction."""
    DONE = "done"
    BARRED = "barred"
    """Its compensation came first: it may never happen."""
    EXPIRED = "expired"
    """It was asked for too late, was not begun, and may never happen."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger says about an effect."""

    state: State
    at: datetime
    outcome: Emitted | None = None
    messages: tuple[Emitted, ...] = ()

    @property
    def refusal(self) -> Literal["expired", "barred"] | None:
        """Why the effect may never happen, if it may not."""
        if self.state is State.EXPIRED:
            return "expired"
        return "barred" if self.state is State.BARRED else None


class LedgerSession(ABC):
    """A session of a store that is no SQL database, and keeps the effect ledger itself: ``ctx.effect`` takes it too.

    A transaction begins with the first call after the last one's end. What it did is seen by others, and outlives a
    crash, once ``commit`` has returned; until then nothing of it may be seen.
    """

    @abstractmethod
    def in_transaction(self) -> bool: ...

    @abstractmethod
    async def take(self, effect_id: str, state: State, handler: str, at: datetime) -> Entry | None:
        """Make the effect's entry, or find the one that is there. None: it is made, and ours until the transaction
        ends. While another transaction has made it and has not ended, this waits."""
        ...

    @abstractmethod
    async def find(self, effect_id: str) -> Entry | None:
        """The effect's entry, if there is one."""
        ...

    @abstractmethod
    async def store(self, effect_id: str, outcome: Emitted | None, messages: list[Emitted]) -> None:
        """Say how the effect of an entry that is ours ended: it is DONE."""
        ...

    @abstractmethod
    async def forget(self, effect_id: str) -> None:
        """Take the effect's entry away again."""
        ...

    @abstractmethod
    async def commit(self) -> None: ...

    @abstractmethod
    async def rollback(self) -> None: ...
