"""What can go wrong, as one tree.

OrchestraError
├── DefinitionError        a mistake in a message, handler or flow; raised at import, names what to change
├── SettingsError          a setting is missing or has an impossible value
├── DecodeError            bytes that are no valid event; names the attribute that is wrong
├── EncodeError            an event that cannot be put on the wire as asked
├── HopLimitError          an event follows from too many others, one from the next: a storm
├── LocalKafkaError        no Kafka could be started on this machine; says what to do
├── LocalPostgresError     no PostgreSQL could be started on this machine; says what to do
├── HandlerError           raised by users' handlers to say how a failure is to be treated
│   ├── PermanentError     will fail every time: dead letter at once
│   └── TransientError     may pass: try again
│       └── RetryAfter         the same, and not before a certain time
├── AskError               a command was asked for its outcome, and has none that can be given
│   ├── AskTimeoutError    no answer in time: whether it was done is unknown
│   ├── AskFailedError     a dead letter: whether it was done is unknown, and no answer will come
│   └── AskRefusedError    proven not done
├── FlowError              a flow was started or asked for something, and there is no answer that can be given
│   ├── FlowTimeoutError       not over, or no answer, in time: the instance goes on
│   ├── FlowRefusedError       not done, and why
│   ├── FlowFailedError        it is over, and not with what was wanted
│   ├── InstanceUnknownError   there is no such instance
│   └── FlowQueryError         what a query wants to know is not there
└── TransportError         the log did not do what was asked
    ├── UnreachableError       no broker answered within the deadline
    ├── OutcomeUnknownError    sent, but nobody knows whether it was stored
    ├── FencedError            a newer owner holds this log; nothing was stored
    ├── FenceBreachedError     the fence did not hold; stop and alert
    ├── TopicError             a topic is missing, or is not as it must be
    ├── RecordTooLargeError    the broker refuses the record's size
    ├── AccessDeniedError      not authenticated, or not authorised
    ├── CommitFailedError      offsets were not committed: the assignment has moved
    ├── OffsetLostError        the wanted offset is no longer in the log
    ├── StalledError           a client takes nothing in though it could
    ├── PublishError           of many events, some are not stored, or perhaps not
    └── ClosedError            used before start or after close

Every class has a stable ``code`` (for logs, metrics and dead letters) and ``retriable``: whether the same call may
succeed later without anybody changing anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar


class OrchestraError(Exception):
    """Whatever orchestra raises on purpose."""

    code: ClassVar[str] = "orchestra"
    retriable: ClassVar[bool] = False


class DefinitionError(OrchestraError):
    """A message, handler or flow is declared wrongly. The text names the class, the place and the remedy."""

    code = "definition"


class SettingsError(OrchestraError):
    """A setting is missing or has a value that cannot work."""

    code = "settings"


class DecodeError(OrchestraError):
    """Bytes that are no valid event.

    Attributes:
        attribute: the CloudEvents attribute (or ``data``, ``value``, ``content-type``) that is wrong.
        reason: one sentence for a person.
    """

    code = "decode"

    def __init__(self, attribute: str, reason: str) -> None:
        super().__init__(f"{attribute}: {reason}")
        self.attribute = attribute
        self.reason = reason


class EncodeError(OrchestraError):
    """An event cannot be put on the wire as asked. The text names the attribute."""

    code = "encode"


class HopLimitError(OrchestraError):
    """An event would follow from more events, one from the next, than the limit allows: handlers set each other off for
    ever. Nothing was emitted; the handled record becomes a dead letter."""

    code = "hop-limit"


class LocalKafkaError(OrchestraError):
    """Kafka could not be started, found or stopped on this machine. The text says what to do about it."""

    code = "local-kafka"


class LocalPostgresError(OrchestraError):
    """PostgreSQL could not be found, fetched or started on this machine. The text says what to do about it."""

    code = "local-postgres"


class HandlerError(OrchestraError):
    """Base of the errors that a handler raises to say how its failure is to be treated."""

    code = "handler"


class PermanentError(HandlerError):
    """It will fail every time: the record goes to the dead letters at once."""

    code = "permanent"


class TransientError(HandlerError):
    """It may pass: the record is tried again, as the handler's retry policy says."""

    code = "transient"
    retriable = True


class RetryAfter(TransientError):  # noqa: N818  it says what to do
    """It may pass, and not before some time: the next try comes no earlier. It counts as a try, as any failure does.

    ``raise RetryAfter("30s")``, or with seconds as a number, as an HTTP ``Retry-After`` header has them. It may be
    longer than the policy's ``cap``. What is no length of time makes the record a dead letter with reason CONTRACT.
    """

    code = "retry-after"

    def __init__(self, delay: float | str | timedelta, message: str = "") -> None:
        super().__init__(message or f"not before {delay} {'have' if isinstance(delay, str) else 's have'} passed")
        self.delay = delay


class TransportError(OrchestraError):
    """The log did not do what was asked."""

    code = "transport"


class UnreachableError(TransportError):
    """No broker answered within the deadline. Nothing is known to have changed."""

    code = "unreachable"
    retriable = True


class OutcomeUnknownError(TransportError):
    """The record was sent and no answer came: it may or may not be stored. Send it again under the same id.

    Attributes:
        event_id: the event's id, where it is known.
    """

    code = "outcome-unknown"
    retriable = True

    def __init__(self, message: str = "", *, event_id: str | None = None) -> None:
        super().__init__(message)
        self.event_id = event_id


class FencedError(TransportError):
    """A newer owner has claimed this log. Nothing was stored; this owner must give the shard up."""

    code = "fenced"


class FenceBreachedError(TransportError):
    """The log holds, or acknowledged, what the fence should have made impossible. Stop the shard and alert."""

    code = "fence-breached"


class TopicError(TransportError):
    """A topic is missing, or its partitions or settings are not what they must be. The text says how to mend it."""

    code = "topic"


class RecordTooLargeError(TransportError):
    """The broker (or the topic) does not take a record of this size. Nothing was stored."""

    code = "record-too-large"


class AccessDeniedError(TransportError):
    """The broker did not accept who we are, or does not allow what we asked."""

    code = "access-denied"


class CommitFailedError(TransportError):
    """Offsets were not committed, because the assignment has moved. The new owner will see these records again."""

    code = "commit-failed"


class OffsetLostError(TransportError):
    """The wanted offset is not in the log: its records were deleted, or the log was made anew.

    Attributes:
        lost: (topic, partition) -> the offset that is not there, where known.
    """

    code = "offset-lost"

    def __init__(self, message: str, *, lost: Mapping[tuple[str, int], int] | None = None) -> None:
        super().__init__(message)
        self.lost = dict(lost or {})


class StalledError(TransportError):
    """A client takes nothing in, though there are records and brokers answer. It is given up and made anew."""

    code = "stalled"
    retriable = True


class ClosedError(TransportError):
    """The transport was used before it was started or after it was closed."""

    code = "closed"


@dataclass(frozen=True, slots=True)
class Unpublished:
    """An event that is not stored, or perhaps not.

    Attributes:
        index: its place among the events that were to be published, from 0.
        event: itself.
        id: the id that it has, or would have had: ``bus.publish(event, id=...)`` repeats it for receivers that drop
            what they have seen.
        error: why.
    """

    index: int
    event: object
    id: str
    error: OrchestraError


class PublishError(TransportError):
    """Of many events that were to be published, some are not stored, or perhaps not.

    Every event is in one of four places: named in ``not_stored``; named in ``unknown``; from place ``taken`` on, and
    surely not stored, because nothing more was taken; all others are surely stored.

    Attributes:
        not_stored: surely not.
        unknown: sent, and nobody knows.
        taken: how many were taken from what was given.
    """

    code = "publish"

    def __init__(
        self, message: str, *, not_stored: Sequence[Unpublished], unknown: Sequence[Unpublished], taken: int
    ) -> None:
        super().__init__(message)
        self.not_stored = tuple(not_stored)
        self.unknown = tuple(unknown)
        self.taken = taken

    @property
    def stored(self) -> int:
        """How many are surely stored."""
        return self.taken - len(self.not_stored) - len(self.unknown)


class AskError(OrchestraError):
    """A command was asked for its outcome, and has none that can be given. Whether it was done is unknown.

    Attributes:
        effect_id: of the command: ``bus.ask(command, effect_id=...)`` asks for the same effect again.
    """

    code = "ask"

    def __init__(self, message: str, *, effect_id: str) -> None:
        super().__init__(message)
        self.effect_id = effect_id


class AskTimeoutError(AskError, TimeoutError):
    """No answer came in time. Whether the command was done is unknown, unless ``was_sent`` is false: then it was not.

    Ask again under the same effect id: a service with a ledger gives the outcome that it has, and does nothing twice.

    Attributes:
        was_sent: the command left, or may have left.
    """

    code = "ask-timeout"
    retriable = True

    def __init__(self, message: str, *, effect_id: str, was_sent: bool) -> None:
        super().__init__(message, effect_id=effect_id)
        self.was_sent = was_sent


class AskFailedError(AskError):
    """The command is a dead letter of its service: no answer will come, and whether it was done is unknown.

    Attributes:
        dead_letter_id: as ``orchestra dead-letters list`` shows it.
        reason: the dead letter's.
    """

    code = "ask-failed"

    def __init__(self, message: str, *, effect_id: str, dead_letter_id: str, reason: str) -> None:
        super().__init__(message, effect_id=effect_id)
        self.dead_letter_id = dead_letter_id
        self.reason = reason


class AskRefusedError(AskError):
    """The service did not begin the command and never will: proven not done. Ask again under a new effect id.

    Attributes:
        reason: ``expired``: it came too late; ``barred``: its compensation came first.
    """

    code = "ask-refused"

    def __init__(self, message: str, *, effect_id: str, reason: str) -> None:
        super().__init__(message, effect_id=effect_id)
        self.reason = reason


class FlowError(OrchestraError):
    """A flow was started, or asked for something, and there is no answer that can be given.

    Attributes:
        instance: its id, ``<flow>/<percent-encoded key>``, where it is known.
    """

    code = "flow"

    def __init__(self, message: str, *, instance: str | None = None) -> None:
        super().__init__(message)
        self.instance = instance


class FlowTimeoutError(FlowError, TimeoutError):
    """It was not over, or did not answer, in time. The instance goes on; wait for it again with the same call."""

    code = "flow-timeout"
    retriable = True


class FlowRefusedError(FlowError):
    """Not done: the instance is in no state for it, or was started with another content. The text says why."""

    code = "flow-refused"


class FlowFailedError(FlowError):
    """The flow is over, and its end is not what was wanted: it was undone, or says something else.

    Attributes:
        event: what it published at its end, if it did.
        status: ``completed`` or ``compensated``.
    """

    code = "flow-failed"

    def __init__(self, message: str, *, instance: str, status: str, event: object = None) -> None:
        super().__init__(message, instance=instance)
        self.status = status
        self.event = event


class InstanceUnknownError(FlowError):
    """There is no such instance: it never was, has not started yet, or is no longer remembered."""

    code = "instance-unknown"


class FlowQueryError(FlowError):
    """What a query wants to know is not there. The text says why."""

    code = "flow-query"
