"""Which of our errors is a failure of Kafka or of aiokafka? Every one is translated here, once.

A broker answers with a code; aiokafka has a class for most of them and turns the rest into ``UnknownError``. So codes
are judged as numbers (https://kafka.apache.org/protocol#protocol_error_codes), and classes only where there is no code.
"""

from __future__ import annotations

import ssl

import aiokafka.errors as kafka_errors

from orchestra.errors import (
    AccessDeniedError,
    ClosedError,
    CommitFailedError,
    FencedError,
    OffsetLostError,
    OutcomeUnknownError,
    RecordTooLargeError,
    TopicError,
    TransportError,
    UnreachableError,
)

NO_ERROR = 0
UNKNOWN_TOPIC = 3
OUT_OF_ORDER_SEQUENCE = 45
DUPLICATE_SEQUENCE = 46

_BY_CODE: dict[int, type[TransportError]] = {
    1: OffsetLostError,  # OFFSET_OUT_OF_RANGE: deleted, or the topic was made anew
    2: UnreachableError,  # CORRUPT_MESSAGE: damaged on the way; Java repeats it too
    3: TopicError,  # UNKNOWN_TOPIC_OR_PARTITION: also just after creation, so callers ask the metadata first
    5: UnreachableError,  # LEADER_NOT_AVAILABLE: an election is under way
    6: UnreachableError,  # NOT_LEADER_OR_FOLLOWER: our metadata is old
    7: UnreachableError,  # REQUEST_TIMED_OUT: replicas were too slow; the record may be stored
    8: UnreachableError,  # BROKER_NOT_AVAILABLE
    9: UnreachableError,  # REPLICA_NOT_AVAILABLE
    10: RecordTooLargeError,  # MESSAGE_TOO_LARGE: the topic's max.message.bytes
    12: RecordTooLargeError,  # OFFSET_METADATA_TOO_LARGE: the note of a commit
    13: UnreachableError,  # NETWORK_EXCEPTION
    14: UnreachableError,  # COORDINATOR_LOAD_IN_PROGRESS: after a leader change
    15: UnreachableError,  # COORDINATOR_NOT_AVAILABLE: also while its topic is being made
    16: UnreachableError,  # NOT_COORDINATOR: it has moved
    17: TopicError,  # INVALID_TOPIC_EXCEPTION: no legal name, or an internal topic
    18: RecordTooLargeError,  # RECORD_LIST_TOO_LARGE: the topic's segment.bytes
    19: UnreachableError,  # NOT_ENOUGH_REPLICAS: nothing stored; comes back with the replicas
    20: UnreachableError,  # NOT_ENOUGH_REPLICAS_AFTER_APPEND: stored, not yet replicated; repeats are recognised
    22: CommitFailedError,  # ILLEGAL_GENERATION: a rebalance went by
    24: TopicError,  # INVALID_GROUP_ID
    25: CommitFailedError,  # UNKNOWN_MEMBER_ID: put out of the group
    27: CommitFailedError,  # REBALANCE_IN_PROGRESS: our generation is over once we have joined again
    28: RecordTooLargeError,  # INVALID_COMMIT_OFFSET_SIZE
    29: AccessDeniedError,  # TOPIC_AUTHORIZATION_FAILED
    30: AccessDeniedError,  # GROUP_AUTHORIZATION_FAILED
    31: AccessDeniedError,  # CLUSTER_AUTHORIZATION_FAILED
    32: TopicError,  # INVALID_TIMESTAMP: the topic's message.timestamp.before/after.max.ms
    33: AccessDeniedError,  # UNSUPPORTED_SASL_MECHANISM
    34: AccessDeniedError,  # ILLEGAL_SASL_STATE
    37: TopicError,  # INVALID_PARTITIONS
    38: TopicError,  # INVALID_REPLICATION_FACTOR: more than there are brokers
    39: TopicError,  # INVALID_REPLICA_ASSIGNMENT
    40: TopicError,  # INVALID_CONFIG
    41: UnreachableError,  # NOT_CONTROLLER: it has moved
    44: TopicError,  # POLICY_VIOLATION: the cluster's create.topic.policy
    45: OutcomeUnknownError,  # OUT_OF_ORDER_SEQUENCE_NUMBER: the broker forgot, or lost, what came before
    47: FencedError,  # INVALID_PRODUCER_EPOCH: what Produce says to an old epoch
    51: UnreachableError,  # CONCURRENT_TRANSACTIONS: somebody else takes the same identity right now
    53: AccessDeniedError,  # TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    54: AccessDeniedError,  # SECURITY_DISABLED
    56: UnreachableError,  # KAFKA_STORAGE_ERROR: a disk failed; the leader moves
    58: AccessDeniedError,  # SASL_AUTHENTICATION_FAILED
    59: OutcomeUnknownError,  # UNKNOWN_PRODUCER_ID: the broker has forgotten us
    72: UnreachableError,  # LISTENER_NOT_FOUND: the leader is starting
    74: UnreachableError,  # FENCED_LEADER_EPOCH: our metadata is old
    75: UnreachableError,  # UNKNOWN_LEADER_EPOCH: the broker's is
    82: CommitFailedError,  # FENCED_INSTANCE_ID: another process has our static id
    87: TopicError,  # INVALID_RECORD: no key on a compacted topic
    89: UnreachableError,  # THROTTLING_QUOTA_EXCEEDED: of topic creation; passes
    90: FencedError,  # PRODUCER_FENCED
    100: TopicError,  # UNKNOWN_TOPIC_ID: deleted meanwhile
}

_BY_CLASS: tuple[tuple[type[BaseException], type[TransportError]], ...] = (
    (kafka_errors.ProducerFenced, FencedError),
    (kafka_errors.CommitFailedError, CommitFailedError),  # aiokafka's word for codes 22, 25, 27
    (kafka_errors.IllegalStateError, CommitFailedError),  # a partition that is not assigned any more
    (kafka_errors.RecordTooLargeError, RecordTooLargeError),
    (kafka_errors.AuthenticationFailedError, AccessDeniedError),
    (kafka_errors.AuthenticationMethodNotSupported, AccessDeniedError),
    (kafka_errors.ConsumerStoppedError, ClosedError),
    (ssl.SSLCertVerificationError, AccessDeniedError),  # an OSError too: so before it
    (TimeoutError, UnreachableError),
    (OSError, UnreachableError),
)


def failure(code: int, what: str) -> TransportError:
    """Our error for a broker's error code; ``what`` says what was asked."""
    kind = kafka_errors.for_code(code)
    name = str(kind.message) if kind.errno == code else f"error code {code}"
    return _BY_CODE.get(code, TransportError)(f"{what}: {name}")


def is_transient(code: int) -> bool:
    """Whether the same request may succeed soon, perhaps at another broker."""
    return _BY_CODE.get(code) is UnreachableError


def translated(error: BaseException, what: str) -> TransportError:
    """Our error for one of aiokafka, asyncio or the operating system; one of ours is given back as it is."""
    if isinstance(error, TransportError):
        return error
    if isinstance(error, kafka_errors.OffsetOutOfRangeError):
        return _lost(error, what)
    if isinstance(error, kafka_errors.BrokerResponseError) and error.errno in _BY_CODE:
        return failure(error.errno, what)
    for kind, ours in _BY_CLASS:
        if isinstance(error, kind):
            return ours(f"{what}: {_words(error)}")
    if isinstance(error, kafka_errors.KafkaError) and error.retriable:
        return UnreachableError(f"{what}: {_words(error)}")  # connections, metadata, coordinators that come back
    return TransportError(f"{what}: {_words(error)}")


def _lost(error: kafka_errors.OffsetOutOfRangeError, what: str) -> OffsetLostError:
    """aiokafka gives it a dict of partition -> offset as its only argument."""
    places: object = error.args[0] if error.args else None
    lost = {(tp.topic, tp.partition): offset for tp, offset in places.items()} if isinstance(places, dict) else {}
    where = ", ".join(f"{topic}[{number}] at {offset}" for (topic, number), offset in lost.items())
    return OffsetLostError(f"{what}: no longer in the log: {where}", lost=lost)


def _words(error: BaseException) -> str:
    name, text = type(error).__name__, str(error)
    if not text or text.startswith(name):  # aiokafka puts its class in front
        return text or name
    return f"{name}: {text}"
