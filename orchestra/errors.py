"""What can go wrong, as one tree.

OrchestraError
├── DefinitionError        a mistake in a message, handler or flow; raised at import, names what to change
├── SettingsError          a setting is missing or has an impossible value
├── DecodeError            bytes that are no valid event; names the attribute that is wrong
├── EncodeError            an event that cannot be put on the wire as asked
├── LocalKafkaError        no Kafka could be started on this machine; says what to do
├── LocalPostgresError     no PostgreSQL could be started on this machine; says what to do
├── HandlerError           raised by users' handlers to say how a failure is to be treated
│   ├── PermanentError     will fail every time: dead letter at once
│   └── TransientError     may pass: try again
│       └── RetryAfter         the same, and not before a certain time
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
    └── ClosedError            used before start or after close

Every class has a stable ``code`` (for logs, metrics and dead letters) and ``retriable``: whether the same call may
succeed later without anybody changing anything.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    """The record was sent and no answer came: it may or may not be stored. Send it again under the same id."""

    code = "outcome-unknown"
    retriable = True


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
