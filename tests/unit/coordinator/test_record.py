"""What goes into a record of the state topic comes out of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra.coordinator.record import (
    Given,
    Instance,
    Marks,
    OutboxMessage,
    Parked,
    Ref,
    decode_instance,
    decode_outbox,
    encode_instance,
    from_headers,
    to_headers,
    with_outbox,
    without_outbox,
)
from orchestra.flows.decision import Timer

NOW = datetime(2026, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)
TIMES = st.integers(0, 10**15).map(lambda micros: datetime.fromtimestamp(micros / 1e6, UTC))
HEADERS = st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=8)), max_size=3).map(tuple)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
INPUTS = st.one_of(
    st.tuples(st.text(max_size=5), st.integers(0, 99)).map(lambda timer: Given("timer", timer=timer)),
    st.builds(
        Given,
        kind=st.sampled_from(["start", "outcome", "operator"]),
        offset=st.integers(0, 2**60),
        headers=HEADERS,
        value=st.none() | st.binary(max_size=20),
        key=st.none() | st.binary(max_size=20),
        time_ms=st.integers(0, 2**45),
        timer=st.none(),
        omitted=st.just(False),
        event_=st.none(),
    ),
    st.integers(0, 99).map(lambda offset: Given("outcome", offset, time_ms=5, omitted=True)),
)
TIMERS = st.builds(
    Timer,
    name=st.text(max_size=5),
    generation=st.integers(0, 99),
    due=st.none() | TIMES,
    after=st.none() | st.text(max_size=5),
    delay=st.floats(0, 1e6),
)
MESSAGES = st.builds(
    OutboxMessage,
    ref=st.builds(Ref, instance=st.just("tiny/o1"), n=st.integers(1, 99), place=st.integers(0, 9)),
    id=st.text(max_size=5),
    kind=st.sampled_from(["command", "event", "journal", "alert", "dead-letter"]),
    topic=st.text(max_size=5),
    key=st.none() | st.binary(max_size=8),
    value=st.none() | st.binary(max_size=20),
    headers=HEADERS,
    partition=st.none() | st.integers(0, 9),
    timestamp_ms=st.none() | st.integers(0, 2**45),
    first=st.none() | st.integers(0, 99),
)
INSTANCES = st.builds(
    Instance,
    id=st.just("tiny/o1"),
    flow=st.text(max_size=5),
    version=st.none() | st.integers(1, 9),
    run=st.integers(0, 9),
    n=st.integers(1, 99),
    status=st.sampled_from(["running", "queued", "completed"]),
    start=st.text(max_size=5),
    begun=TIMES,
    digest=st.text(max_size=5),
    state=st.none() | st.dictionaries(st.text(max_size=3), JSON, max_size=3),
    timers=st.lists(TIMERS, max_size=2).map(tuple),
    inputs=st.lists(INPUTS, max_size=3).map(tuple),
    parked=st.none() | st.builds(Parked, why=st.just("raised"), note=st.text(max_size=5), since=TIMES),
    finished=st.none() | TIMES,
    result=st.none() | st.dictionaries(st.text(max_size=3), JSON, max_size=3),
)


@given(INSTANCES, st.lists(MESSAGES, max_size=3))
@settings(max_examples=150, deadline=None)
def test_an_instance_and_its_outbox_come_back_as_they_were(instance: Instance, outbox: list[OutboxMessage]) -> None:
    value = with_outbox(encode_instance(instance), outbox)

    assert decode_instance("tiny/o1", value) == instance
    assert decode_outbox("tiny/o1", value) == tuple(outbox)
    assert decode_instance("tiny/o1", without_outbox(value)) == instance


@given(INSTANCES, st.lists(MESSAGES, max_size=3))
@settings(max_examples=50, deadline=None)
def test_a_record_is_lines_of_json_that_anybody_can_read(instance: Instance, outbox: list[OutboxMessage]) -> None:
    lines = with_outbox(encode_instance(instance), outbox).split(b"\n")

    assert len(lines) == (2 if outbox else 1)
    assert json.loads(lines[0])["n"] == instance.n


@pytest.mark.parametrize("due", [None, NOW + timedelta(seconds=30)])
def test_headers_come_back_as_they_were(due: datetime | None) -> None:
    marks = Marks(7, 5, 1000, 3, NOW, due, "running", "tiny/1")

    assert from_headers(to_headers(marks)) == marks


def test_headers_that_no_owner_wrote_are_refused() -> None:
    with pytest.raises(ValueError, match="is missing"):
        from_headers([("content-type", b"application/json")])


def test_a_record_of_a_later_format_is_refused() -> None:
    with pytest.raises(ValueError, match="a newer orchestra may have written it"):
        decode_instance("tiny/o1", b'{"format": 2}')


def test_a_parked_instance_shows_so_in_lists() -> None:
    instance = Instance("tiny/o1", "tiny", 1, 0, 1, "running", "", NOW)

    assert instance.label == "running"
    instance.parked = Parked("raised", "", NOW)
    assert instance.label == "parked"
