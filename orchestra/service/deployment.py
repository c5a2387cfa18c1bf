"""What is a service on this cluster: which group, which topics?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestra.events.message import Event
from orchestra.service import retry_topic
from orchestra.service.budget import DeadLetterBudget
from orchestra.service.reading import Reading
from orchestra.service.retry_topic import topic_of
from orchestra.service.service import Service
from orchestra.settings import Settings
from orchestra.transport.port import TopicSpec

_DEAD_LETTER_CONFIG = {"cleanup.policy": "delete", "retention.ms": str(14 * 24 * 3600 * 1000)}


@dataclass(frozen=True, slots=True)
class Deployment:
    """A service as it is on this cluster.

    Attributes:
        group: the consumer group.
        dead_letters: the topic.
        own_topics: topics of commands: whatever comes there is meant for this service.
        topic: declared topic -> topic here.
        types: type -> class of every outcome it can give.
        reading: how its records become envelopes.
        budget: of dead letters; None: no bound.
        hop_limit: how many events may lead to one, each the cause of the next.
    """

    group: str
    dead_letters: str
    version: str
    source: str
    own_topics: frozenset[str]
    topic: Callable[[str], str]
    types: Mapping[str, type[Event]]
    reading: Reading
    budget: DeadLetterBudget | None
    hop_limit: int


def deploy(service: Service, settings: Settings) -> Deployment:
    """The service under the names that the settings give."""
    return Deployment(
        group=settings.scoped(service.name),
        dead_letters=settings.topic(f"{service.name}.dead-letters"),
        version=service.version,
        source=f"/services/{service.name}",
        own_topics=frozenset(map(settings.topic, service.command_topics)),
        topic=settings.topic,
        types=service.outcome_types,
        reading=Reading(service.plain_topics, settings.topic),
        budget=service.dead_letter_budget,
        hop_limit=settings.hop_limit,
    )


def needed_topics(service: Service, settings: Settings) -> list[TopicSpec]:
    """The topics that must exist, as they are named on this cluster, each once."""
    topic = settings.topic
    specs = {topic(name): TopicSpec(topic(name)) for name in service.event_topics | service.emitted_topics}
    for name in service.command_topics:
        specs[topic(name)] = TopicSpec(topic(name), config={"cleanup.policy": "delete"})
    dead_letters = topic(f"{service.name}.dead-letters")
    sources = frozenset(map(topic, service.command_topics | service.event_topics))
    specs[dead_letters] = TopicSpec(dead_letters, config=_DEAD_LETTER_CONFIG, takes_from=sources)
    for name, read in _retry_topics(service).items():
        takes_from = frozenset(map(topic, read))
        specs[topic(name)] = TopicSpec(topic(name), config=retry_topic.CONFIG, takes_from=takes_from)
    return list(specs.values())


def _retry_topics(service: Service) -> dict[str, set[str]]:
    """Declared retry topic -> declared topics whose records may come there. All of a service's have the same sources,
    so that they are equally wide: a record moves on from one to the next."""
    later = [handler for handler in service.handlers if handler.retry.later]
    sources = {topic for handler in later for topic in handler.reads.topics}
    return {topic_of(service.name, str(tier)): sources for handler in later for tier in handler.retry.later}
