"""How is a command asked, and its answer found? One reply topic per bus name, read by every process from its own start.

A process chooses one partition, and each command that it sends says where its answer goes. Replies that came before the
process asked its first question are not read; those for others are passed over. There is no consumer group.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from orchestra.bus.stamp import Stamp
from orchestra.clock import Clock
from orchestra.errors import (
    AskError,
    AskFailedError,
    AskRefusedError,
    AskTimeoutError,
    DecodeError,
    OffsetLostError,
    OutcomeUnknownError,
    TopicError,
    TransportError,
)
from orchestra.events.attributes import Value
from orchestra.events.cloudevents import decode
from orchestra.events.envelope import Envelope
from orchestra.events.message import Command, Event, StepFailed, StepRefused, spec_of
from orchestra.ids import Jitter, new_id
from orchestra.settings import Settings
from orchestra.transport.port import Outgoing, Partition, Position, Publisher, Record, TopicSpec, Transport
from orchestra.transport.topic_setup import ensure_topics

_log = logging.getLogger("orchestra.bus")

_DAY_MS: Final = 86_400_000
_REMEMBERED: Final = 10_000
"""Of so many effect ids we know that their ask has ended, to tell a late answer from one that is somebody else's."""
_FETCH_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.5
"""Between two tries to read, when a try has failed."""


@dataclass(slots=True)
class AskStatistics:
    """What became of answers.

    Attributes:
        in_flight: asks that wait for one now.
        late: answers to asks that had ended: too late, or not for the first time.
        unreadable: records on our partition that are no events.
        misfits: answers that are no outcome of their command; their asks waited on.
    """

    in_flight: int = 0
    late: int = 0
    unreadable: int = 0
    misfits: int = 0


class Wait:
    """Something that was sent, and waits for an answer that carries its effect id."""

    __slots__ = ("effect_id", "future", "is_sent", "label", "remark", "sending")

    def __init__(self, label: str, effect_id: str) -> None:
        self.label = label
        self.effect_id = effect_id
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.is_sent = False
        self.sending: asyncio.Future[Position] | None = None
        self.remark = ""
        """What came instead of an answer."""

    def sent(self, sending: asyncio.Future[Position]) -> None:
        """Wait no longer for the answer to what is surely not stored."""
        self.is_sent = True
        self.sending = sending
        sending.add_done_callback(self._ended)

    def _ended(self, sending: asyncio.Future[Position]) -> None:
        error = None if sending.cancelled() else sending.exception()
        if error is not None and not isinstance(error, OutcomeUnknownError):
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def take(self, answer: Envelope) -> bool:
        """Whether this is the answer."""
        raise NotImplementedError

    def closed(self) -> Exception:
        """What to raise when the bus is closed meanwhile."""
        raise NotImplementedError


class _Ask(Wait):
    """One command that waits for its outcome."""

    __slots__ = ("outcomes",)

    def __init__(self, command: Command[Any, Any], effect_id: str) -> None:
        super().__init__(type(command).__qualname__, effect_id)
        spec = spec_of(type(command))
        self.outcomes = {spec_of(each).type: each for each in (*spec.replies, *spec.rejections)}

    def take(self, answer: Envelope) -> bool:
        """Whether this answers the command."""
        try:
            if (cls := self.outcomes.get(answer.type)) is not None:
                outcome = answer.value(cls)
                if not self.future.done():
                    self.future.set_result(outcome)
            elif answer.type == spec_of(StepFailed).type:
                self.fail(self._failed(answer.value(StepFailed)))
            elif answer.type == spec_of(StepRefused).type:
                self.fail(self._refused(answer.value(StepRefused)))
            else:
                self.remark = f"; an answer came of type {answer.type!r}, which is no outcome of {self.label}"
                return False
        except DecodeError as error:
            self.remark = f"; an answer came that cannot be read: {error}"
            return False
        return True

    def _failed(self, answer: StepFailed) -> AskFailedError:
        return AskFailedError(
            f"{self.label} is a dead letter of its service ({answer.reason}: {answer.error}), id "
            f"{answer.dead_letter_id}: whether it was done is unknown; effect id {self.effect_id}",
            effect_id=self.effect_id,
            dead_letter_id=answer.dead_letter_id,
            reason=answer.reason,
        )

    def _refused(self, answer: StepRefused) -> AskRefusedError:
        return AskRefusedError(
            f"{self.label} was refused ({answer.reason}: {answer.note}): it was not done; effect id {self.effect_id}",
            effect_id=self.effect_id,
            reason=answer.reason,
        )

    def late(self, seconds: float) -> AskTimeoutError:
        if self.is_sent:
            what = f"no answer within {seconds:g} s{self.remark}: whether it was done is unknown; ask again with"
        else:
            what = f"not sent within {seconds:g} s: it was not done; ask again, also with"
        return AskTimeoutError(
            f"{self.label}: {what} effect_id={self.effect_id!r}", effect_id=self.effect_id, was_sent=self.is_sent
        )

    def closed(self) -> AskError:
        why = "the bus was closed before an answer came: whether it was done is unknown"
        return AskError(f"{self.label}: {why}; effect id {self.effect_id}", effect_id=self.effect_id)


class Asking:
    """Every ask of one bus. Nothing is opened before the first.

    Args:
        name: of the bus: its replies come on ``<name>.replies``.
        most: so many asks may be in flight; further ones wait, within their own time.
    """

    def __init__(
        self,
        name: str,
        stamp: Stamp,
        publisher: Publisher,
        transport: Transport,
        settings: Settings,
        *,
        clock: Clock,
        jitter: Jitter,
        most: int,
    ) -> None:
        self.statistics = AskStatistics()
        self._topic = settings.topic(f"{name}.replies")
        self._stamp = stamp
        self._publisher = publisher
        self._transport = transport
        self._settings = settings
        self._clock = clock
        self._jitter = jitter
        self._room = asyncio.Semaphore(most)
        self._asks: dict[str, list[Wait]] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._opening: asyncio.Task[Partition] | None = None
        self._reading: asyncio.Task[None] | None = None

    async def ask(
        self,
        command: Command[Any, Any],
        *,
        seconds: float,
        effect_id: str | None,
        extensions: dict[str, Value],
    ) -> Event:
        """The command's outcome. Raises as ``Bus.ask``."""
        ask = _Ask(command, effect_id or new_id())
        until = self._clock.now() + timedelta(seconds=seconds)
        try:
            outcome: Event = await self.exchange(
                ask, lambda place: self._record(ask, command, place, until, extensions), seconds=seconds
            )
        except TimeoutError as error:
            if isinstance(error, AskError):
                raise
            raise ask.late(seconds) from None
        return outcome

    async def exchange(self, wait: Wait, record: Callable[[Partition], Outgoing], *, seconds: float) -> Any:
        """Send what ``record`` makes for the place where answers come, and return the answer.

        Raises:
            TimeoutError: none came.
        """
        async with asyncio.timeout(seconds):
            async with self._room:
                return await self._exchange(wait, record)

    async def _exchange(self, ask: Wait, record: Callable[[Partition], Outgoing]) -> Any:
        place = await self._place()
        self._asks.setdefault(ask.effect_id, []).append(ask)
        self.statistics.in_flight += 1
        try:
            ask.sent(await self._publisher.send(record(place)))
            return await ask.future
        finally:
            self.statistics.in_flight -= 1
            self._forget(ask)
            if ask.sending is not None:
                ask.sending.cancel()  # what nobody waits for any more, and has not left, is not sent

    def _record(
        self, ask: _Ask, command: Command[Any, Any], place: Partition, until: datetime, extensions: dict[str, Value]
    ) -> Outgoing:
        about: dict[str, Value] = {
            **extensions,
            "effectid": ask.effect_id,
            "replyto": place.topic,
            "replypartition": place.number,
            "expirytime": until,
        }
        return self._stamp.record(command, id=new_id(), time=self._clock.now(), extensions=about)

    def _forget(self, ask: Wait) -> None:
        same = self._asks[ask.effect_id]
        same.remove(ask)
        if not same:
            del self._asks[ask.effect_id]
            self._ended[ask.effect_id] = None
            self._ended.move_to_end(ask.effect_id)
            if len(self._ended) > _REMEMBERED:
                self._ended.popitem(last=False)

    # ---- reading answers

    async def _place(self) -> Partition:
        """Where answers come. The first ask opens it, others wait for that; one that gives up does not stop it."""
        if self._opening is None or (self._opening.done() and self._opening.exception() is not None):
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(_seen)
        return await asyncio.shield(self._opening)

    async def _open(self) -> Partition:
        spec = TopicSpec(self._topic, config={"cleanup.policy": "delete", "retention.ms": str(_DAY_MS)})
        await ensure_topics(self._transport.topics, [spec], self._settings)
        states = await self._transport.topics.describe([self._topic])
        if (state := states.get(self._topic)) is None:
            raise TopicError(f"topic {self._topic!r} does not exist any more")
        place = Partition(self._topic, int(self._jitter() * state.partitions))
        bounds = await self._transport.topics.bounds([place])
        self._reading = asyncio.create_task(self._read(place, bounds[place].end))
        return place

    async def _read(self, place: Partition, offset: int | None) -> None:
        """Take in answers, whatever the brokers do."""
        while True:
            try:
                reader = await self._transport.reader(place, offset=offset)
                try:
                    while True:
                        for record in await reader.fetch(max_records=500, timeout=_FETCH_SECONDS):
                            self._take(record)
                            offset = record.offset + 1
                finally:
                    await reader.aclose()
            except OffsetLostError as error:
                _log.warning("answers may have been lost: %s", error)
                offset = None
            except TransportError as error:
                _log.warning("answers cannot be read just now: %s", error)
            await asyncio.sleep(_PAUSE_SECONDS)

    def _take(self, record: Record) -> None:
        try:
            answer = decode(record.headers, record.value)
        except DecodeError as error:
            self.statistics.unreadable += 1
            _log.debug("%r is no event: %s", record, error)
            return
        effect_id = answer.get("effectid")
        if effect_id is None:
            return
        asks = self._asks.get(effect_id)
        if asks is None:
            self.statistics.late += effect_id in self._ended
            return
        for ask in list(asks):
            if not ask.take(answer):
                self.statistics.misfits += 1
                _log.warning("an ask waits on%s (effect id %s)", ask.remark, effect_id)

    async def aclose(self) -> None:
        """Fail what still waits, and stop reading. Idempotent."""
        for asks in self._asks.values():
            for ask in asks:
                ask.fail(ask.closed())
        tasks = [task for task in (self._opening, self._reading) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _seen(task: asyncio.Task[Any]) -> None:
    """Whoever asked may have given up before this failed: no warning about it."""
    if not task.cancelled():
        task.exception()
