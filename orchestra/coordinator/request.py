"""How does a program ask something of an instance, and learn what came of it?

With a record in its coordinator's inbox; the journal entry that names the record has the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic_core import from_json, to_json

from orchestra.coordinator.inbox import INPUT, INSTANCE, OPERATOR
from orchestra.coordinator.names import Names
from orchestra.events.attributes import JSON, format_time
from orchestra.events.cloudevents import encode
from orchestra.events.envelope import Envelope
from orchestra.flows.decision import OperatorRequest
from orchestra.ids import new_id
from orchestra.transport.partitioner import partition_for
from orchestra.transport.port import Outgoing, Partition, Publisher, Reader, Transport


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


def event_record(names: Names, partitions: int, instance: str, event: Envelope) -> Outgoing:
    """The record that gives an event to an instance that waits for it, whatever topic such events come from."""
    headers, value = encode(event)
    key = instance.encode()
    marks = [(INPUT, b"event"), (INSTANCE, key)]
    return Outgoing(names.inbox, key, value, [*headers, *marks], partition_for(key, partitions))


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request.

    Attributes:
        outcome: ``done``; ``refused``: it changed nothing; ``waits``: it is kept until the instance is not queued or
            parked any more.
        note: a sentence for a person, from the journal.
        status: of the instance, then.
    """

    outcome: Literal["done", "refused", "waits"]
    note: str
    status: str


class Answers:
    """Reads what comes of requests to the instances of one shard. Open it before the requests are sent."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._found: dict[str, Answer] = {}

    @classmethod
    async def open(cls, transport: Transport, names: Names, shard: int) -> Answers:
        """From the end of the shard's journal on. Raises TransportError."""
        journal = Partition(names.journal, shard)
        end = (await transport.topics.bounds([journal]))[journal].end
        return cls(await transport.reader(journal, offset=end))

    async def wait(self, event_id: str) -> Answer:
        """The answer to the request of that id, whenever it comes. Raises TransportError."""
        while event_id not in self._found:
            for record in await self._reader.fetch(max_records=500, timeout=1.0):
                self._found |= answers_in(record.value)
        return self._found[event_id]

    async def aclose(self) -> None:
        await self._reader.aclose()


def answers_in(value: bytes | None) -> dict[str, Answer]:
    """By event id, what a journal entry says of the requests that it was made for."""
    try:
        entry: dict[str, Any] = from_json(value or b"{}")
    except ValueError:
        return {}
    asked = [given for given in entry.get("inputs", ()) if given.get("kind") == "operator"]
    ids = [text for given in asked for name, text in given.get("headers", ()) if name == "ce_id"]
    if not ids:
        return {}
    answer = _answer(entry.get("lines", ()), entry.get("status", ""))
    return dict.fromkeys(ids, answer)


def _answer(lines: Sequence[Mapping[str, Any]], status: str) -> Answer:
    for outcome, words in _WORDS:
        for line in lines:
            if line["what"] in words:
                return Answer(outcome, line.get("note", ""), status)
    said = "; ".join(": ".join(part for part in (line["what"], line.get("note", "")) if part) for line in lines[:3])
    return Answer("done", said, status)


_WORDS: tuple[tuple[Literal["refused", "waits"], tuple[str, ...]], ...] = (
    ("waits", ("input.waits",)),
    ("refused", ("operator.refused", "input.ignored", "input.rejected")),
)


async def ask_instances(
    transport: Transport,
    publisher: Publisher,
    names: Names,
    partitions: int,
    requests: Mapping[str, OperatorRequest],
    *,
    source: str,
    now: datetime,
    seconds: float,
) -> dict[str, Answer | None]:
    """Put requests to instances, by their ids, and wait for what comes of them; None: nothing came in that time.

    The instances should exist: nobody answers for one that does not.

    Raises:
        TransportError: a request could not be stored, or the journal not be read.
    """
    events = {instance: new_id() for instance in requests}
    shards = {partition_for(instance.encode(), partitions) for instance in requests}
    found: dict[str, Answer | None] = dict.fromkeys(requests)
    async with AsyncExitStack() as stack:
        journals: dict[int, Answers] = {}
        for shard in sorted(shards):
            journals[shard] = await Answers.open(transport, names, shard)
            stack.push_async_callback(journals[shard].aclose)
        records = [
            request_record(names, partitions, instance, request, event_id=events[instance], now=now, source=source)
            for instance, request in requests.items()
        ]
        try:
            async with asyncio.timeout(seconds):
                await publisher.publish(records)
                for instance, event_id in events.items():
                    journal = journals[partition_for(instance.encode(), partitions)]
                    found[instance] = await journal.wait(event_id)
        except TimeoutError:
            pass
    return found
