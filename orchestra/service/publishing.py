"""How do records leave, whatever the brokers do? Sent again until they are stored: nothing counts as done before."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from orchestra.clock import Clock
from orchestra.errors import RecordTooLargeError, TopicError, TransportError
from orchestra.ids import Jitter
from orchestra.service.dead_letter import bare, without_payload
from orchestra.service.retry import waiting_delay
from orchestra.service.share import Worker
from orchestra.service.signals import GivenUp
from orchestra.service.statistics import Statistics
from orchestra.transport.port import Outgoing, Position, Publisher

_log = logging.getLogger(__name__)

_MISSING_TOPIC_ROUNDS = 8


class Publishing:
    """Sends the records that handlings make.

    A failed record is sent again with everything behind it, so what one handling emits stays in order; ids repeat.
    """

    def __init__(self, publisher: Publisher, clock: Clock, jitter: Jitter, statistics: Statistics) -> None:
        self._publisher = publisher
        self._clock = clock
        self._jitter = jitter
        self._statistics = statistics

    async def send(self, records: Sequence[Outgoing], worker: Worker, *, foreign: str | None = None) -> None:
        """Return once all are stored.

        Args:
            foreign: a topic that somebody else named. When it is missing that may be a mistake for good; a missing
                topic of our own is waited for.

        Raises:
            RecordTooLargeError: a topic does not take one of them.
            TopicError: the foreign topic is still missing after a while.
            GivenUp: the partition is being taken away meanwhile.
        """
        round_ = 0
        while records:
            records, error = await self._try(records)
            if error is None:
                return
            round_ += 1
            is_missing = isinstance(error, TopicError) and records[0].topic == foreign
            if isinstance(error, RecordTooLargeError) or (is_missing and round_ >= _MISSING_TOPIC_ROUNDS):
                raise error
            await self.wait(worker, round_, error)

    async def store(self, record: Outgoing, worker: Worker) -> Position:
        """Return where one record of our own stands, once it is stored.

        Raises:
            RecordTooLargeError: the topic does not take it.
            GivenUp: the partition is being taken away meanwhile.
        """
        round_ = 0
        while True:
            try:
                return await (await self._publisher.send(record))
            except RecordTooLargeError:
                raise
            except TransportError as error:
                round_ += 1
                await self.wait(worker, round_, error)

    async def send_letter(self, letter: Outgoing, worker: Worker) -> None:
        """Return once the dead letter is stored: whole, or without its value, or with nothing but its reasons.

        Raises:
            GivenUp: the partition is being taken away meanwhile.
        """
        forms = [letter, without_payload(letter), bare(letter)]
        round_ = 0
        while (error := (await self._try(forms[:1]))[1]) is not None:
            if isinstance(error, RecordTooLargeError) and len(forms) > 1:
                del forms[0]
                continue
            round_ += 1
            await self.wait(worker, round_, error)

    async def _try(self, records: Sequence[Outgoing]) -> tuple[Sequence[Outgoing], TransportError | None]:
        """Send them. Gives what is left from the first that failed on, and why it did."""
        if len(records) == 1:  # nearly always
            try:
                await (await self._publisher.send(records[0]))
            except TransportError as error:
                return records, error
            return (), None
        futures = []
        failure: TransportError | None = None
        for record in records:
            try:
                futures.append(await self._publisher.send(record))
            except TransportError as error:
                failure = error
                break
        ends = await asyncio.gather(*futures, return_exceptions=True)
        for index, end in enumerate(ends):
            if isinstance(end, TransportError):
                return records[index:], end
            if isinstance(end, BaseException):
                raise end
        return records[len(futures) :], failure

    async def wait(self, worker: Worker, round_: int, error: BaseException) -> None:
        """Wait before the next round, for what is down; ``round_`` counts from 1.

        Raises:
            GivenUp: the partition is being taken away.
        """
        self.note_wait(round_, error)
        if worker.lane is None or worker.lane.share.is_draining:
            raise GivenUp
        worker.is_waiting = True
        try:
            await self._clock.sleep(waiting_delay(round_, self._jitter()))
        finally:
            worker.is_waiting = False

    def note_wait(self, round_: int, error: BaseException) -> None:
        """Count a wait for something that is down, and say so now and then."""
        self._statistics.waits += 1
        if round_ == 1 or round_ % 20 == 0:
            _log.warning("waiting (round %d) until this passes: %s: %s", round_, type(error).__name__, error)
