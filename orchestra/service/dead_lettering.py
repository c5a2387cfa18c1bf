"""How does a record leave as a dead letter, and who is told? First it is stored; then a flow that waits is answered."""

from __future__ import annotations

import logging
from typing import NoReturn

from orchestra.clock import Clock
from orchestra.errors import RecordTooLargeError, TopicError
from orchestra.events.envelope import Envelope
from orchestra.service.budget import Purse
from orchestra.service.context import effect_id_of
from orchestra.service.dead_letter import dead_letter, dead_letter_id, failure_of
from orchestra.service.deployment import Deployment
from orchestra.service.outcome import Cause, failed
from orchestra.service.progress import Tries
from orchestra.service.publishing import Publishing
from orchestra.service.retry import Reason
from orchestra.service.retry_topic import source_of
from orchestra.service.share import Worker
from orchestra.service.signals import Held
from orchestra.service.statistics import Statistics
from orchestra.transport.port import Record

_log = logging.getLogger(__name__)

_LOOK_AGAIN = 30.0
"""Seconds after which a record is tried again whose dead letter was put off."""


class DeadLettering:
    """Makes dead letters of one service's records."""

    def __init__(self, deployment: Deployment, publishing: Publishing, clock: Clock, statistics: Statistics) -> None:
        self._here = deployment
        self._publishing = publishing
        self._clock = clock
        self._statistics = statistics
        self._purses: dict[tuple[str, int], Purse] = {}

    def _take(self, worker: Worker) -> float:
        """Seconds to wait for the budget of the record's partition; 0: it is granted."""
        budget, lane = self._here.budget, worker.lane
        if budget is None or lane is None:
            return 0.0
        share, now = lane.share, self._clock.elapsed()
        purse = self._purses.get(share.partition)
        if purse is None:
            purse = self._purses[share.partition] = Purse(budget, now)
        return purse.take(now, share.finished, share.since)

    def _hold(self, record: Record, seconds: float, error: Exception) -> NoReturn:
        """Put the dead letter off, and tell an operator: something fails that should not."""
        self._statistics.held += 1
        if self._statistics.held == 1 or self._statistics.held % 1000 == 0:
            _log.error(
                "ALERT: the dead-letter budget of %s[%d] is spent: records that fail wait in their places, and are"
                " tried again until they pass or the budget grows (now %r: %s: %s)",
                record.topic,
                record.partition,
                record,
                type(error).__name__,
                error,
            )
        raise Held(min(max(seconds, 1.0), _LOOK_AGAIN))

    async def bury(
        self,
        record: Record,
        worker: Worker,
        error: Exception,
        reason: Reason,
        event: Envelope | None = None,
        tries: Tries | None = None,
        *,
        is_urgent: bool = False,
    ) -> None:
        """Return once the dead letter is stored, and whoever waits for an answer is told of it.

        Args:
            event: where the record could be decoded.
            tries: of the handler that failed, where one was chosen.
            is_urgent: also where the budget is spent: nothing good comes of trying it again.

        Raises:
            Held: the partition has had too many dead letters; nothing was sent.
            GivenUp: the partition is being taken away meanwhile.
        """
        if (seconds := self._take(worker)) and not is_urgent:
            self._hold(record, seconds, error)
        here, now = self._here, self._clock.now()
        name = tries.binding.name if tries else ""
        first, attempts = (tries.first_failure or now, tries.attempt) if tries else (now, 0)
        failure = failure_of(error, reason, handler=name, attempts=attempts, first=first, last=now)
        letter = dead_letter(record, failure, topic=here.dead_letters, group=here.group, version=here.version)
        await self._publishing.send_letter(letter, worker)
        self._statistics.dead_letters += 1
        letter_id = dead_letter_id(record, here.group)
        _log.error("dead letter %s: %s: %s: %s", letter_id, reason, failure.error_class, failure.message)
        is_command = tries.binding.is_command if tries else source_of(record).topic in here.own_topics
        if event is None or not is_command or worker.is_lost:
            return
        cause = Cause(event, effect_id_of(event, name, is_command=True), name, here.source, now, here.hop_limit)
        try:
            answer = failed(cause, letter_id, reason, failure.message)
            await self._publishing.send(answer, worker, foreign=event.get("replyto"))
        except (RecordTooLargeError, TopicError) as unanswered:
            _log.warning("dead letter %s: no answer could be sent: %s", letter_id, unanswered)
