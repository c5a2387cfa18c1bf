"""How does a record become an envelope? As a CloudEvent; or as its topic says, where that holds none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from orchestra.events.cloudevents import decode
from orchestra.events.envelope import Envelope
from orchestra.events.topic import Topic
from orchestra.service.retry_topic import source_of
from orchestra.transport.port import Record


class Reading:
    """Reads the records of a service of which some topics hold no CloudEvents.

    Args:
        topics: those.
        topic: declared topic -> topic on this cluster.
    """

    def __init__(self, topics: Iterable[Topic[Any]], topic: Callable[[str], str]) -> None:
        self._topics = {topic(each.name): each for each in topics}

    def __bool__(self) -> bool:
        return bool(self._topics)

    def read(self, record: Record) -> Envelope:
        """The envelope of a record; of a retry topic too.

        Raises:
            DecodeError: the record is not as its topic says.
        """
        source = source_of(record)
        if (topic := self._topics.get(source.topic)) is None:
            return decode(record.headers, record.value)
        return topic.envelope(record.value, f"{source.topic}/{source.partition}/{source.offset}")
