"""How are very many events published with little memory, and what is said when some of them fail?

Events are taken a slice at a time. A slice is encoded and handed to the publisher, which makes batches per partition of
it; at most ``_MOST_UNDER_WAY`` slices are unacknowledged. At the first failure nothing more is taken, and what has not
left is not sent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from itertools import islice
from typing import Final

from orchestra.errors import OrchestraError, OutcomeUnknownError, PublishError, TransportError, Unpublished
from orchestra.events.message import Message
from orchestra.transport.port import Delivery, Outgoing, Publisher

_STEP: Final = 256
"""So many events are encoded at a time, then other tasks get their turn: about a millisecond."""
_SLICE: Final = 2048
_SLICE_BYTES: Final = 2 << 20
_MOST_UNDER_WAY: Final = 4
"""Slices: less than a publisher holds, so that others can publish meanwhile."""
_LINGER_SECONDS: Final = 0.02
"""So long an event of an asynchronous source may wait for others."""

Encode = Callable[[Sequence[Message], Sequence[str], int], list[Outgoing]]
"""Events, their ids, and the bytes of data that the records of the first of them may hold."""


class _Slice:
    """Events that were taken one after the other, and become records and one delivery."""

    __slots__ = ("events", "first", "ids", "records", "size")

    def __init__(self, first: int) -> None:
        self.first = first
        self.events: list[Message] = []
        self.ids: list[str] = []
        self.records: list[Outgoing] = []
        self.size = 0

    @property
    def is_full(self) -> bool:
        return len(self.records) >= _SLICE or self.size >= _SLICE_BYTES

    def add(self, events: Sequence[Message], ids: Sequence[str], records: Sequence[Outgoing]) -> None:
        self.events += events
        self.ids += ids
        self.records += records
        self.size += sum([len(record.value or b"") for record in records])

    def lost(self, place: int, error: OrchestraError) -> Unpublished:
        return Unpublished(self.first + place, self.events[place], self.ids[place], error)


class Bulk:
    """One publication of many events.

    Args:
        publisher: where they go.
        encode: as ``Stamp.records``, of now.
        why_not: raises the OrchestraError for an event that cannot be a record.
        ids: gives so many new ids.
    """

    def __init__(
        self,
        publisher: Publisher,
        encode: Encode,
        why_not: Callable[[Message, str], object],
        ids: Callable[[int], list[str]],
    ) -> None:
        self._publisher = publisher
        self._encode = encode
        self._why_not = why_not
        self._ids = ids
        self._taken = 0
        self._open = _Slice(0)
        """Is being filled."""
        self._under_way: deque[tuple[_Slice, Delivery]] = deque()
        self._lost: list[Unpublished] = []
        self._has_failed = False

    async def publish(self, events: Iterable[Message] | AsyncIterable[Message]) -> None:
        """Return when all are stored.

        Raises:
            PublishError: some are not, or perhaps not.
            Whatever the iterable raises, once all that it gave before has ended.
        """
        try:
            try:
                if isinstance(events, AsyncIterable):
                    await self._take_as_they_come(events)
                else:
                    await self._take(events)
            except Exception as error:
                await self._finish()
                error.add_note(f"{self._taken - len(self._lost)} events were published before")
                raise
            await self._finish()
        except BaseException:
            self._give_up()
            raise
        if self._lost:
            raise self._error()

    # ---- taking

    async def _take(self, events: Iterable[Message]) -> None:
        source = iter(events)
        while not self._has_failed and (step := list(islice(source, _STEP))):
            await self._add(step)
            await asyncio.sleep(0)

    async def _take_as_they_come(self, events: AsyncIterable[Message]) -> None:
        """Events of a slow source leave after a moment, those of a quick one together."""
        waiting: list[Message] = []
        turn, end = asyncio.Lock(), asyncio.Event()

        async def flush(*, all_of_it: bool) -> None:
            async with turn:
                step = list(waiting)
                waiting.clear()
                await self._add(step)
                if all_of_it:
                    await self._hand_over()

        async def flush_now_and_then() -> None:
            while not end.is_set():
                await asyncio.wait([ended], timeout=_LINGER_SECONDS)
                await flush(all_of_it=True)

        ended = asyncio.create_task(end.wait())
        flushing = asyncio.create_task(flush_now_and_then())
        try:
            async for event in events:
                waiting.append(event)
                if len(waiting) >= _STEP:
                    await flush(all_of_it=False)
                if self._has_failed or flushing.done():
                    break
        finally:
            end.set()
            await _ended(flushing)
        await flush(all_of_it=False)

    async def _add(self, events: Sequence[Message]) -> None:
        """Encode some, and hand a slice over when it is full."""
        if self._has_failed:
            return
        ids = self._ids(len(events))
        done = 0
        while done < len(events):
            records = self._encode(events[done:], ids[done:], _SLICE_BYTES)
            if not records:
                await self._hand_over()
                self._refuse(events[done], ids[done])
                return
            until = done + len(records)
            self._open.add(events[done:until], ids[done:until], records)
            self._taken += len(records)
            if self._open.is_full and not await self._hand_over():
                return
            done = until

    def _refuse(self, event: Message, event_id: str) -> None:
        """It cannot be a record: say why, and take nothing more."""
        try:
            self._why_not(event, event_id)
        except OrchestraError as error:
            self._lost.append(Unpublished(self._taken, event, event_id, error))
            self._has_failed = True
            self._taken += 1

    async def _hand_over(self) -> bool:
        """Give the open slice to the publisher, once there is room. False: something has failed."""
        while len(self._under_way) >= _MOST_UNDER_WAY:
            await self._under_way[0][1].wait()
            self._collect()
        if self._open.records and not self._has_failed:
            slice_, self._open = self._open, _Slice(self._taken)
            self._under_way.append((slice_, await self._publisher.send_many(slice_.records)))
            self._collect()
        return not self._has_failed

    # ---- what has become of them

    def _collect(self) -> None:
        """Forget slices that have ended, and keep what failed."""
        if not self._has_failed and any(delivery.failures for _, delivery in self._under_way):
            self._has_failed = True
            self._give_up()
        while self._under_way and self._under_way[0][1].is_done:
            slice_, delivery = self._under_way.popleft()
            self._lost += [slice_.lost(place, error) for place, error in delivery.failures.items()]

    def _give_up(self) -> None:
        for _, delivery in self._under_way:
            delivery.give_up()

    async def _finish(self) -> None:
        """Return when everything has ended that was taken."""
        await self._hand_over()
        while self._under_way:
            await self._under_way[0][1].wait()
            self._collect()
        reason = TransportError("not sent: another event that was to be published before it has failed")
        self._lost += [self._open.lost(place, reason) for place in range(len(self._open.records))]

    def _error(self) -> PublishError:
        lost = sorted(self._lost, key=lambda each: each.index)
        unknown = [each for each in lost if isinstance(each.error, OutcomeUnknownError)]
        not_stored = [each for each in lost if not isinstance(each.error, OutcomeUnknownError)]
        first = lost[0]
        error = PublishError(
            f"{self._taken - len(lost)} of {self._taken} events are stored, {len(not_stored)} surely not, "
            f"{len(unknown)} perhaps; event {first.index} (id {first.id}): {first.error}",
            not_stored=not_stored,
            unknown=unknown,
            taken=self._taken,
        )
        error.__cause__ = first.error
        return error


async def _ended(task: asyncio.Task[None]) -> None:
    """Return when the task has ended, with what it raises; cancelled meanwhile: cancel it too."""
    try:
        await task
    except asyncio.CancelledError:
        task.cancel()
        raise
