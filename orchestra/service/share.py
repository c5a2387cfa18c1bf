"""What is at hand while records are handled: a partition that is ours, a key's records, and who handles one.

Plain values. :mod:`orchestra.service.lanes` moves them; what each means at a given moment is said there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from orchestra.service.crash_loop import Suspicion
from orchestra.service.detour import Detour
from orchestra.service.offsets import WINDOW, Place, Tracker
from orchestra.transport.port import Committed, Partition, Record


class Share:
    """One partition during one assignment. A partition that comes back is another share: what is left of the old one
    can change nothing about the new one."""

    __slots__ = (
        "busy",
        "cancelled",
        "committed",
        "delay",
        "detour",
        "drained",
        "finished",
        "gate",
        "held",
        "is_draining",
        "is_held_back",
        "is_paused",
        "is_plain",
        "lanes",
        "parked",
        "partition",
        "queued",
        "since",
        "suspicion",
        "tracker",
    )

    def __init__(self, partition: Partition, start: Place | None, *, ahead: int = WINDOW) -> None:
        self.partition = partition
        self.tracker = Tracker(start)
        self.suspicion = Suspicion(start, ahead)
        self.gate: int | None = None
        """The offset from which no record may be begun before the place has moved; None: there is no such offset."""
        self.held: list[Lane] = []
        """Lanes that wait for the gate."""
        self.finished = 0
        """Records that are done, since the assignment."""
        self.since = asyncio.get_running_loop().time()
        """When it was assigned, in the loop's time."""
        self.lanes: dict[bytes | str, Lane] = {}
        """By key; those of batch handlers by the handler's name."""
        self.cancelled: set[bytes] = set()
        """Effect ids of queued commands that need not be done any more; the cancel itself is queued behind each."""
        self.queued = 0
        """Records that wait or are being handled."""
        self.busy = 0
        """Records that are being handled."""
        self.is_draining = False
        """Nothing new is begun."""
        self.drained = asyncio.Event()
        """Draining, and nothing is being handled."""
        self.parked: set[Lane] = set()
        """Lanes whose oldest record waits, without a worker."""
        self.is_paused = False
        self.delay: float | None = None
        """Of a retry topic: seconds from append to the next try."""
        self.detour: Detour | None = None
        """Which records of these keys are in retry topics, where order has to be kept with them."""
        self.is_held_back = False
        """Paused because enough of its records wait for their time; to be read again from the first that does not."""
        self.is_plain = True
        """Nothing of the two."""
        self.committed: Committed | None = None
        """What was committed last."""

    @property
    def is_clear(self) -> bool:
        """No retry topic, and nothing of its keys is in one now."""
        return self.delay is None and not self.detour


class Waiting(Protocol):
    """How far a record has come that has to wait, as the handling said it; only the handling reads the rest of it."""

    @property
    def until(self) -> float:
        """When to go on, in the loop's time."""
        ...

    @property
    def why(self) -> str:
        """What it waits for, for people."""
        ...


class Lane:
    """The records of one key that are not done, oldest first. ``progress``, ``abandoned``: of the oldest."""

    __slots__ = ("abandoned", "is_pressed", "key", "progress", "records", "share", "until")

    def __init__(self, share: Share, key: bytes | str | None, record: Record) -> None:
        self.share = share
        self.key = key
        self.records = deque((record,))
        self.progress: Waiting | None = None
        """How far it has come; None: not begun."""
        self.abandoned: str | None = None
        """The handler that ignored its cancellation, and was given up with it."""
        self.is_pressed = False
        """Its partition is held up by it alone: it gets no further try."""
        self.until: float | None = None
        """When a parked lane goes on, in the loop's time; None: it is not parked."""


class Worker:
    """A task that handles records; what the processor tells it is for :class:`orchestra.service.deadline.Deadlines`."""

    __slots__ = ("deadline", "handler", "is_lost", "is_timed_out", "is_waiting", "lane", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.lane: Lane | None = None
        self.handler = ""
        """Whose attempt is under way."""
        self.deadline: float | None = None
        """When the attempt under way is to be cancelled, or has been and is to be given up."""
        self.is_timed_out = False
        self.is_waiting = False
        """Until the brokers are back: not worth waiting for when partitions are taken away."""
        self.is_lost = False
        """Given up: the lane has gone to somebody else."""
