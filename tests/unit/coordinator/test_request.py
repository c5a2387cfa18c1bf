"""Is what somebody asks of an instance an input of it, in its shard?"""

from __future__ import annotations

from datetime import UTC, datetime

from orchestra.coordinator.inbox import Deflected, classify, operator_request
from orchestra.coordinator.names import Names
from orchestra.coordinator.request import request_record
from orchestra.flows.decision import OperatorRequest
from orchestra.settings import Settings
from orchestra.transport.port import Record

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def test_a_request_comes_to_the_instance_that_it_is_for() -> None:
    request = OperatorRequest("retry", by="ann", reason="the warehouse is back", step="load")

    out = request_record(
        Names.of("ingest", Settings()), 8, "ingestion/day%2F1", request, event_id="r-1", now=NOW, source="/test"
    )
    assert out.partition is not None
    found = classify(Record(out.topic, out.partition, 0, 0, out.key, out.value, out.headers), partitions=8)

    assert not isinstance(found, Deflected)
    instance, given = found
    assert out.topic == "ingest.inbox"
    assert (instance, given.kind) == ("ingestion/day%2F1", "operator")
    assert operator_request(given.event) == request
