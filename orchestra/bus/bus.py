"""How does any program publish events, ask a service something, run a flow? From a web handler, a script, a test."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from orchestra.bus.asking import Asking, AskStatistics
from orchestra.bus.bulk import Bulk
from orchestra.bus.flows import BusOfFlows
from orchestra.bus.stamp import Stamp
from orchestra.clock import Clock, SystemClock
from orchestra.duration import Duration, seconds
from orchestra.errors import ClosedError, DefinitionError, OutcomeUnknownError, PublishError, TopicError
from orchestra.events.attributes import Value
from orchestra.events.message import Command, Event, Message
from orchestra.events.sdk import is_sdk_event
from orchestra.ids import IdSeries, Jitter, system_jitter
from orchestra.settings import Settings
from orchestra.transport.port import Outgoing, Publisher, TopicSpec, Transport
from orchestra.transport.topic_check import explain
from orchestra.transport.topic_setup import find_problems

if TYPE_CHECKING:
    from cloudevents.core.v1.event import CloudEvent

    from orchestra.bus.flow_calls import FlowCalls
    from orchestra.coordinator.coordinator import Coordinator

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")

R = TypeVar("R", bound=Event)
J = TypeVar("J", bound=Event)


class Bus(BusOfFlows):
    """A way to publish events, to ask services, and to run flows. Made by :func:`connect`; safe to share between tasks.

    Every call has an end: a record that is not acknowledged within the settings' ``delivery_timeout`` fails, an ask
    ends at its own timeout.
    """

    def __init__(
        self,
        publisher: Publisher,
        transport: Transport,
        settings: Settings,
        *,
        name: str,
        clock: Clock,
        jitter: Jitter,
        most_asks: int,
        coordinators: Sequence[Coordinator] = (),
    ) -> None:
        self.name = name
        self._publisher = publisher
        self._transport = transport
        self._settings = settings
        self._clock = clock
        self._stamp = Stamp(f"/bus/{name}", settings.topic)
        self._ids = IdSeries()
        self._asking = Asking(
            name, self._stamp, publisher, transport, settings, clock=clock, jitter=jitter, most=most_asks
        )
        self._coordinators = coordinators
        self._flow_calls: FlowCalls | None = None
        self._is_open = True
        self._calls = _Calls()

    def __repr__(self) -> str:
        return f"Bus({self.name!r})"

    @overload
    async def publish(
        self, event: Message, /, *, id: str | None = None, source: str | None = None, correlation_id: str | None = None
    ) -> None: ...
    @overload
    async def publish(self, event: CloudEvent, /, *, topic: str, key: str | None = None) -> None: ...
    @overload
    async def publish(self, *events: Message, correlation_id: str | None = None) -> None: ...
    @overload
    async def publish(
        self, events: Iterable[Message] | AsyncIterable[Message], /, *, correlation_id: str | None = None
    ) -> None: ...
    async def publish(
        self,
        *events: Any,
        id: str | None = None,  # noqa: A002  the CloudEvents name
        source: str | None = None,
        correlation_id: str | None = None,
        topic: str | None = None,
        key: str | None = None,
    ) -> None:
        """Put one event, or many, on the topics of their classes. All replicas have them when this returns.

        Many, also an iterable or an async iterable without end, take little memory: they are taken a few thousand at a
        time and leave in batches. What is stored is stored in the order given, for each key. Not atomic: when some
        fail, others may be stored; :class:`~orchestra.errors.PublishError` says which. Commands can be published too;
        nobody waits for their outcome then.

        Cancelled, it gives up what has not left yet; what has left may be stored.

        Args:
            events: one event, several, an iterable of them; or one ``CloudEvent`` of the cloudevents SDK, which
                travels in structured mode with the id, source and attributes that it has.
            id: of one event. Default: a new one. The same id twice is the same event to receivers.
            source: of one event. Default: ``/bus/<name>``.
            correlation_id: what the events belong to; handed on by services. Default: none, which means the event's id.
            topic: where an SDK's event goes, as declared names go; not for messages, whose class says it.
            key: the record key of an SDK's event.

        Raises:
            TopicError: the topic is missing; says how to make it. Nothing is stored.
            UnreachableError: no broker within ``delivery_timeout``. Surely not stored.
            OutcomeUnknownError: sent, and no answer came. It may be stored: publish again with ``id=error.event_id``.
            RecordTooLargeError, AccessDeniedError: refused. Not stored.
            PublishError: of several, some failed.
            EncodeError: it cannot be put on the wire.
            DefinitionError: no event, or its class has no topic.
            ClosedError: the bus is not open.
        """
        correlation: dict[str, Value] = {} if correlation_id is None else {"correlationid": correlation_id}
        with self._call():
            if len(events) == 1 and isinstance(events[0], Message):
                _only_for_sdk(topic, key)
                if id is None and source is None and correlation_id is None:
                    event_id = self._ids.one()
                    record = self._plain(events[0], event_id)
                else:
                    event_id = self._ids.one() if id is None else id
                    record = self._record(events[0], event_id, source, correlation)
                await self._one(record, event_id)
            elif len(events) == 1 and is_sdk_event(events[0]):
                if topic is None:
                    raise DefinitionError("bus.publish(CloudEvent): nobody knows where it goes; give topic='...'")
                record = self._stamp.whole(events[0], topic, key)
                await self._one(record, str(events[0].get_id()))
            else:
                _only_for_sdk(topic, key)
                if id is not None or source is not None:
                    raise DefinitionError("bus.publish(): id and source are for one event; publish them one by one")
                await self._many(events, correlation)

    def _plain(self, event: Message, event_id: str) -> Outgoing:
        """An event of which nothing is said but itself: nearly all are."""
        for record in self._stamp.records((event,), (event_id,), self._clock.now(), {}, 1):
            return record
        return self._record(event, event_id, None, {})  # it says why it cannot be one

    def _record(self, event: Message, event_id: str, source: str | None, extensions: dict[str, Value]) -> Outgoing:
        now = self._clock.now()
        return self._stamp.record(event, id=event_id, time=now, source=source, extensions=extensions)

    async def _one(self, record: Outgoing, event_id: str) -> None:
        try:
            await (await self._publisher.send(record))
        except TopicError as error:
            raise await self._explained(error, record.topic) from error
        except OutcomeUnknownError as error:
            raise OutcomeUnknownError(f"{error}; the event's id is {event_id}", event_id=event_id) from error

    async def _many(self, events: tuple[Any, ...], extensions: dict[str, Value]) -> None:
        source: Any = events
        if len(events) == 1:
            source = events[0]
            if not isinstance(source, Iterable | AsyncIterable):
                raise DefinitionError(f"bus.publish({source!r:.64}): this is no event, and no iterable of events")

        def encode(messages: Sequence[Message], ids: Sequence[str], most: int) -> list[Outgoing]:
            return self._stamp.records(messages, ids, self._clock.now(), extensions, most)

        def why_not(message: Message, event_id: str) -> Outgoing:
            return self._record(message, event_id, None, extensions)

        bulk = Bulk(self._publisher, encode, why_not, self._ids.many)
        try:
            await bulk.publish(source)
        except PublishError as error:
            if isinstance(error.__cause__, TopicError):
                first = min((*error.not_stored, *error.unknown), key=lambda each: each.index)
                topic = self._stamp.topic_of(first.event)
                error.__cause__ = await self._explained(error.__cause__, topic)
                error.args = (f"{error}\n{error.__cause__}",)
            raise

    async def _explained(self, error: TopicError, topic: str) -> TopicError:
        """With the remedy, if the topic is missing."""
        problems = await find_problems(self._transport.topics, [TopicSpec(topic)], self._settings)
        return TopicError(explain(problems, 1)) if problems else error

    async def ask(
        self,
        command: Command[R, J],
        *,
        timeout: Duration,
        effect_id: str | None = None,
        correlation_id: str | None = None,
    ) -> R | J:
        """Send a command to its service, and return its outcome: the reply, or the rejection.

        The service is any consumer that answers as commands are answered: on ``replyto``, with ``effectid`` copied.
        The first ask opens the reply topic, ``<name>.replies``, and makes it where the settings allow that.

        Safe to cancel: whether the command is done is unknown then. Asked again under the same effect id, a service
        with a ledger does nothing twice and gives the outcome that it has.

        Args:
            timeout: how long to wait in all; also the command's ``expirytime``: a service refuses to begin it later.
            effect_id: what makes it the same effect when asked again. Default: a new one.
            correlation_id: what the command belongs to. Default: none, which means its own id.

        Raises:
            AskTimeoutError: no answer in time. Whether it was done is unknown, unless ``was_sent`` is false.
            AskFailedError: the command is a dead letter of its service. Whether it was done is unknown.
            AskRefusedError: the service refused to begin it. It was not done.
            AskError: the bus was closed meanwhile. Whether it was done is unknown.
            TopicError: the command's topic, or that of the replies, is missing; says how to make it.
            UnreachableError, RecordTooLargeError, AccessDeniedError: it could not be sent. It was not done.
            EncodeError: it cannot be put on the wire.
            ClosedError: the bus is not open.
        """
        extensions: dict[str, Value] = {} if correlation_id is None else {"correlationid": correlation_id}
        with self._call():
            try:
                outcome: Any = await self._asking.ask(
                    command, seconds=seconds(timeout), effect_id=effect_id, extensions=extensions
                )
            except TopicError as error:
                raise await self._explained(error, self._stamp.topic_of(command)) from error
        answer: R | J = outcome
        return answer

    def statistics(self) -> AskStatistics:
        """What became of answers so far."""
        return self._asking.statistics

    def _flows(self) -> FlowCalls:
        if self._flow_calls is None:
            from orchestra.bus.flow_calls import FlowCalls

            self._flow_calls = FlowCalls(
                self._asking,
                self._stamp,
                self._publisher,
                self._transport,
                self._settings,
                clock=self._clock,
                coordinators=self._coordinators,
            )
        return self._flow_calls

    # ---- life

    def _call(self) -> _Calls:
        """Something that the end of the bus waits for."""
        if not self._is_open:
            raise ClosedError(f"{self}: it is closed; use it inside `async with orchestra.connect()`")
        return self._calls

    async def aclose(self) -> None:
        """Take no more calls, wait for those under way (at most the drain timeout), and close. Idempotent."""
        self._is_open = False
        try:
            try:
                async with asyncio.timeout(self._settings.drain_timeout):
                    await self._calls.wait_none()
            except TimeoutError:
                pass
        finally:
            await self._asking.aclose()
            await self._publisher.aclose()


class _Calls:
    """How many calls are under way? Entered once for each."""

    __slots__ = ("_count", "_ended")

    def __init__(self) -> None:
        self._count = 0
        self._ended = asyncio.Event()

    def __enter__(self) -> None:
        self._count += 1

    def __exit__(self, *_: object) -> None:
        self._count -= 1
        self._ended.set()

    async def wait_none(self) -> None:
        while self._count:
            self._ended.clear()
            await self._ended.wait()


def _only_for_sdk(topic: str | None, key: str | None) -> None:
    if topic is not None or key is not None:
        raise DefinitionError("bus.publish(): topic and key are for events of the SDK; a message's class says them")


@asynccontextmanager
async def connect(
    settings: Settings | None = None,
    *,
    name: str = "bus",
    transport: Transport | None = None,
    token: Callable[[], Awaitable[str]] | None = None,
    max_asks: int = 1000,
    coordinators: Sequence[Coordinator] = (),
    clock: Clock | None = None,
) -> AsyncGenerator[Bus]:
    """A :class:`Bus`, for as long as the block runs: ``async with orchestra.connect() as bus``.

    At the block's end calls under way in other tasks are waited for, at most the settings' ``drain_timeout``.

    Args:
        settings: where the brokers are. Default: the environment's ``ORCHESTRA_*``.
        name: of this program: in the source of its events (``/bus/<name>``) and its reply topic (``<name>.replies``).
        transport: another way to a log, such as one in memory: started, and closed, by the caller.
        token: gives OAUTHBEARER tokens, where that is the SASL mechanism.
        max_asks: so many asks and runs may be in flight; further ones wait, within their own time.
        coordinators: those whose instances this program cancels, signals or queries.
        clock: for tests.

    Raises:
        SettingsError, UnreachableError, AccessDeniedError.
        DefinitionError: the name cannot be a topic's.
    """
    if not _NAME.fullmatch(name):
        raise DefinitionError(f"connect(name={name!r}): a name is made of a-z 0-9 . _ -, at most 100 of them")
    settings = settings or Settings.from_environment(os.environ)
    opened = None
    if transport is None:
        from orchestra.transport.kafka.transport import KafkaTransport

        transport = opened = KafkaTransport(settings, name=name, token=token)
    try:
        if opened is not None:
            await opened.start()
        publisher = transport.publisher()
        await publisher.start()
        bus = Bus(
            publisher,
            transport,
            settings,
            name=name,
            clock=clock or SystemClock(),
            jitter=system_jitter,
            most_asks=max_asks,
            coordinators=coordinators,
        )
        try:
            yield bus
        finally:
            await bus.aclose()
    finally:
        if opened is not None:
            await opened.aclose()
