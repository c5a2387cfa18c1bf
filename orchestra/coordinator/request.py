"""How does a program ask something of an instance? With a record in its coordinator's inbox, as operators do. Pure."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from pydantic_core import to_json

from orchestra.coordinator.inbox import INPUT, INSTANCE, OPERATOR
from orchestra.coordinator.names import Names
from orchestra.events.attributes import JSON, format_time
from orchestra.events.cloudevents import encode
from orchestra.events.envelope import Envelope
from orchestra.flows.decision import OperatorRequest
from orchestra.transport.partitioner import partition_for
from orchestra.transport.port import Outgoing


def request_record(
    names: Names, partitions: int, instance: str, request: OperatorRequest, *, event_id: str, now: datetime, source: str
) -> Outgoing:
    """The record that puts a request to an instance.

    Args:
        partitions: of the inbox.
        instance: its id, ``<flow>/<percent-encoded key>``.
        event_id: the same id is the same request.
        source: of the event: who writes it.
    """
    data = to_json({name: value for name, value in asdict(request).items() if value not in (None, ())})
    event = Envelope(
        event_id, source, OPERATOR, subject=instance, time_text=format_time(now), datacontenttype=JSON, data=data
    )
    headers, value = encode(event)
    key = instance.encode()
    marks = [(INPUT, b"operator"), (INSTANCE, key)]
    return Outgoing(names.inbox, key, value, [*headers, *marks], partition_for(key, partitions))
