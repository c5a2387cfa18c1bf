"""Every failure of Kafka and aiokafka has one error of ours."""

from __future__ import annotations

import ssl

import aiokafka.errors as kafka_errors
import pytest

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
from orchestra.transport.kafka.failures import failure, is_transient, translated


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (kafka_errors.KafkaConnectionError("refused"), UnreachableError),
        (kafka_errors.NodeNotReadyError("node 1"), UnreachableError),
        (kafka_errors.NoBrokersAvailable(), UnreachableError),
        (kafka_errors.StaleMetadata("t-0"), UnreachableError),
        (kafka_errors.RequestTimedOutError(), UnreachableError),
        (kafka_errors.NotLeaderForPartitionError(), UnreachableError),
        (kafka_errors.LeaderNotAvailableError(), UnreachableError),
        (kafka_errors.NotEnoughReplicasError(), UnreachableError),
        (kafka_errors.GroupCoordinatorNotAvailableError(), UnreachableError),
        (kafka_errors.GroupLoadInProgressError(), UnreachableError),
        (TimeoutError(), UnreachableError),
        (ConnectionRefusedError(), UnreachableError),
        (OSError("no route"), UnreachableError),
        (kafka_errors.UnknownTopicOrPartitionError(), TopicError),
        (kafka_errors.InvalidTopicError(), TopicError),
        (kafka_errors.InvalidReplicationFactorError(), TopicError),
        (kafka_errors.PolicyViolationError(), TopicError),
        (kafka_errors.MessageSizeTooLargeError(), RecordTooLargeError),
        (kafka_errors.RecordTooLargeError("fetch size"), RecordTooLargeError),
        (kafka_errors.OffsetMetadataTooLargeError(), RecordTooLargeError),
        (kafka_errors.TopicAuthorizationFailedError("t"), AccessDeniedError),
        (kafka_errors.GroupAuthorizationFailedError("g"), AccessDeniedError),
        (kafka_errors.SaslAuthenticationFailed("no"), AccessDeniedError),
        (kafka_errors.UnsupportedSaslMechanismError("no"), AccessDeniedError),
        (kafka_errors.AuthenticationFailedError("no"), AccessDeniedError),
        (ssl.SSLCertVerificationError("self-signed"), AccessDeniedError),
        (kafka_errors.CommitFailedError("rebalanced"), CommitFailedError),
        (kafka_errors.UnknownMemberIdError(), CommitFailedError),
        (kafka_errors.IllegalGenerationError(), CommitFailedError),
        (kafka_errors.RebalanceInProgressError(), CommitFailedError),
        (kafka_errors.IllegalStateError("not assigned"), CommitFailedError),
        (kafka_errors.ProducerFenced(), FencedError),
        (kafka_errors.InvalidProducerEpoch(), FencedError),
        (kafka_errors.OutOfOrderSequenceNumber(), OutcomeUnknownError),
        (kafka_errors.UnknownProducerId(), OutcomeUnknownError),
        (kafka_errors.OffsetOutOfRangeError({}), OffsetLostError),
        (kafka_errors.ConsumerStoppedError(), ClosedError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else type(value).__name__,
)
def test_error_is_translated(error: BaseException, ours: type[TransportError]) -> None:
    assert type(translated(error, "asking")) is ours


def test_what_nobody_knows_is_a_transport_error_with_its_words() -> None:
    translation = translated(kafka_errors.KafkaError("something new"), "fetching")

    assert type(translation) is TransportError
    assert str(translation) == "fetching: KafkaError: something new"


def test_our_own_errors_stay_what_they_are() -> None:
    error = TopicError("t is missing")

    assert translated(error, "asking") is error


@pytest.mark.parametrize(
    ("code", "ours"),
    [(87, TopicError), (90, FencedError), (82, CommitFailedError), (74, UnreachableError), (100, TopicError)],
)
def test_codes_that_aiokafka_does_not_know_are_told_apart(code: int, ours: type[TransportError]) -> None:
    error = failure(code, "sending")

    assert type(error) is ours
    assert str(code) in str(error)


def test_code_that_nobody_knows_keeps_its_number() -> None:
    assert str(failure(999, "asking")) == "asking: error code 999"
    assert type(failure(999, "asking")) is TransportError


def test_lost_places_are_named() -> None:
    from aiokafka import TopicPartition

    error = translated(kafka_errors.OffsetOutOfRangeError({TopicPartition("t", 3): 17}), "fetching")

    assert isinstance(error, OffsetLostError)
    assert error.lost == {("t", 3): 17}
    assert "t[3] at 17" in str(error)


@pytest.mark.parametrize(
    ("code", "transient"), [(6, True), (19, True), (14, True), (10, False), (47, False), (0, False)]
)
def test_only_what_passes_by_itself_is_transient(code: int, transient: bool) -> None:
    assert is_transient(code) is transient
