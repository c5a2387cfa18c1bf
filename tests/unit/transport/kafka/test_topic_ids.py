"""The hand-written Metadata request is version 12 of the protocol, byte for byte."""

from __future__ import annotations

import uuid
from io import BytesIO

import pytest

from orchestra.transport.kafka.topic_ids import TopicIdsRequest, topic_ids

ID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")


def test_request_asks_by_name_and_creates_nothing() -> None:
    request = TopicIdsRequest(["t"]).prepare({3: (0, 13)})

    encoded = b"\x02" + bytes(16) + b"\x02t" + b"\x00" + b"\x00" + b"\x00" + b"\x00"
    assert (request.API_KEY, request.API_VERSION) == (3, 12)
    assert request.encode() == encoded


def test_answer_gives_ids_of_topics_that_exist() -> None:
    answer = TopicIdsRequest(["t"]).prepare({3: (12, 12)}).RESPONSE_TYPE
    topic = b"\x00\x00" + b"\x02t" + ID.bytes + b"\x00" + b"\x01" + b"\x80\x00\x00\x00" + b"\x00"
    missing = b"\x00\x03" + b"\x02u" + bytes(16) + b"\x00" + b"\x01" + b"\x80\x00\x00\x00" + b"\x00"
    brokers = b"\x02" + b"\x00\x00\x00\x01" + b"\x02h" + b"\x00\x00\x23\x84" + b"\x00" + b"\x00"
    data = b"\x00\x00\x00\x00" + brokers + b"\x02c" + b"\x00\x00\x00\x01" + b"\x03" + topic + missing + b"\x00"

    assert topic_ids(answer.decode(BytesIO(data))) == {"t": str(ID)}


def test_older_brokers_cannot_be_asked() -> None:
    with pytest.raises(NotImplementedError):
        TopicIdsRequest(["t"]).prepare({3: (0, 8)})
