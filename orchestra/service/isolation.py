"""How is a record found that ends its process? It runs alone, behind a mark; who finds the mark has found the record.

What is decided is in :mod:`orchestra.service.crash_loop`; here it is carried out, for shares whose owners have died too
often. Everything else in the process stands still while such a record runs, so that nothing else can be blamed on it.
"""

from __future__ import annotations

import asyncio
import logging

from orchestra.service.committing import Committer
from orchestra.service.crash_loop import MARKED
from orchestra.service.lanes import Lanes
from orchestra.service.offsets import read_place
from orchestra.service.share import Lane, Share

_log = logging.getLogger(__name__)

_AGAIN_SECONDS = 0.2


class Condemned:
    """The progress of a record that has killed its processes: it is not begun again."""

    until = 0.0
    why = "ends every process that begins it"


class Isolation:
    """Runs the records of suspected shares one at a time."""

    def __init__(self, lanes: Lanes, committer: Committer) -> None:
        self._lanes = lanes
        self._committer = committer
        self._waiting: set[Share] = set()
        self._due = asyncio.Event()

    def on_held(self, share: Share) -> None:
        """A lane of this share waits for its gate: the place has to move, or the record to be run alone."""
        if share.suspicion.is_alone:
            self._waiting.add(share)
            self._due.set()
        else:
            self._committer.hurry()

    def on_committed(self, share: Share) -> None:
        """The share's place is stored."""
        if share.gate is not None and share.committed is not None and share.suspicion.condemned is None:
            gate = share.suspicion.gate(share.committed.offset)
            if gate != share.gate:
                self._lanes.move_gate(share, gate)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            while self._waiting:
                share = self._waiting.pop()
                if share.suspicion.is_alone and not share.is_draining and (lane := _lane_at_base(share)) is not None:
                    await self._run_alone(share, lane)

    async def _run_alone(self, share: Share, lane: Lane) -> None:
        record = lane.records[0]
        suspicion = share.suspicion
        if suspicion.condemned is not None:
            if record.offset == suspicion.condemned:
                _log.error("%r has ended its process again and again: it becomes a dead letter", record)
                lane.progress = Condemned()
                self._lanes.begin(lane)
            else:  # that one is a dead letter now; the others wait until the place is stored behind it
                self._committer.hurry()
            return
        _log.warning("%r may have ended its process: it is run alone", record)
        async with self._lanes.only(share):
            suspicion.runs_alone(record.offset)
            await self._committer.commit([share])
            if not share.is_draining and lane in share.held:
                self._lanes.begin(lane)
                await self._lanes.quiet()
            suspicion.runs_alone(None)
            await self._unmark(share)  # before anything else is begun, which could be what ends the process
        self._lanes.move_gate(share, share.gate)  # the next one

    async def _unmark(self, share: Share) -> None:
        """Return when the stored place says nothing any more about a record that has survived."""
        while not share.is_draining:
            await self._committer.commit([share])
            if share.committed is None or read_place(*share.committed).restarts != MARKED:
                return
            await asyncio.sleep(_AGAIN_SECONDS)


def _lane_at_base(share: Share) -> Lane | None:
    base = share.tracker.base
    return next((lane for lane in share.held if lane.records and lane.records[0].offset == base), None)
