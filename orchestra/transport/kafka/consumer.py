"""How does a member of a group read from Kafka? aiokafka's consumer, behind the assignment gate and our deadlines."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final

import aiokafka.errors as kafka_errors
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from orchestra.errors import (
    AccessDeniedError,
    ClosedError,
    CommitFailedError,
    OffsetLostError,
    TransportError,
    UnreachableError,
)
from orchestra.settings import Settings
from orchestra.transport.kafka.assignment import Gate
from orchestra.transport.kafka.failures import translated
from orchestra.transport.kafka.fetched import Fetched
from orchestra.transport.kafka.group_client import GroupListener, new_group_client, stop_group_client
from orchestra.transport.kafka.network import Network
from orchestra.transport.kafka.odd_names import OddNamesError, fetch_readable
from orchestra.transport.kafka.places import EARLIEST, LATEST, committed_places, list_offsets
from orchestra.transport.port import AssignmentListener, Committed, Partition, Record, Subscription

_log = logging.getLogger(__name__)

_BACKOFF_SECONDS: Final = 0.2
_REBUILD_AFTER: Final = 5
"""So many failures in a row without a record between them, and the client is made anew."""


class KafkaConsumer:
    """The port's Consumer on Kafka.

    Args:
        network: asked for committed places and bounds; shared, not closed here.
        arguments: see ``connection.client_arguments``.
    """

    def __init__(
        self,
        network: Network,
        arguments: Mapping[str, Any],
        settings: Settings,
        subscription: Subscription,
        listener: AssignmentListener,
    ) -> None:
        self._network = network
        self._settings = settings
        self._subscription = subscription
        self._listener = listener
        self._arguments = arguments
        self._gate = Gate()
        self._client: Any = None
        self._fetched: Fetched
        self._opening: asyncio.Task[None] | None = None
        self._told: frozenset[Partition] = frozenset()
        """What the listener was told is ours, and not yet that it is not."""
        self._giving_up = asyncio.Lock()
        self._is_member = False
        self._commits: set[asyncio.Task[None]] = set()
        self._closed: asyncio.Future[None] | None = None
        self._failures = 0
        self._denied: AccessDeniedError | None = None

    # ---- life

    async def start(self) -> None:
        if self._closed is not None:
            raise ClosedError("a consumer is started once")
        self._closed = asyncio.get_running_loop().create_future()
        await self._network.require(self._subscription.topics)
        await self._connect()

    async def _connect(self) -> None:
        client: Any = new_group_client(self._arguments, self._settings, self._subscription)
        try:
            async with asyncio.timeout(self._settings.request_timeout):
                await client.start()
        except BaseException as error:
            await stop_group_client(client, timeout=1.0)
            if isinstance(error, kafka_errors.KafkaConnectionError | TimeoutError):
                raise UnreachableError(f"joining group {self._subscription.group!r}: {error}") from error
            if isinstance(error, kafka_errors.KafkaError | OSError):
                raise translated(error, f"joining group {self._subscription.group!r}") from error
            raise
        self._client = client
        self._fetched = Fetched(client)
        client.subscribe(topics=list(self._subscription.topics), listener=GroupListener(self._assigned, self._revoked))

    async def aclose(self) -> None:
        closed = self._closed
        if closed is None or closed.done():
            return
        closed.set_result(None)
        await self._give_up()
        client, self._client = self._client, None
        if client is not None:
            await stop_group_client(client, timeout=self._settings.request_timeout)

    @property
    def is_closed(self) -> bool:
        return self._closed is not None and self._closed.done()

    @property
    def _is_closing(self) -> bool:
        return self._closed is None or self._closed.done()

    # ---- rebalances

    async def _assigned(self, partitions: Collection[Any]) -> None:
        # aiokafka sends no heartbeats until this returns: so the listener is called from a task of its own
        if self._is_closing:
            return
        mine = sorted(Partition(*each) for each in partitions)
        self._is_member = True
        epoch = self._gate.assign(mine)
        if mine:
            self._opening = asyncio.create_task(self._open(epoch, mine), name=f"assign-{self._subscription.group}")

    async def _open(self, epoch: int, partitions: list[Partition]) -> None:
        while True:
            if await self._place(partitions):
                break
            await asyncio.sleep(_BACKOFF_SECONDS)
        with contextlib.suppress(kafka_errors.IllegalStateError):
            self._client.pause(*_theirs(self._gate.paused))
        self._told = frozenset(partitions)
        await self._tell(self._listener.on_assigned, partitions, timeout=None)
        self._gate.open(epoch)

    async def _place(self, partitions: list[Partition]) -> bool:
        """Go to the committed places, or to where the subscription begins; False if the brokers could not say."""
        try:
            committed = await committed_places(self._network, self._subscription.group, partitions)
            places = {partition: place.offset for partition, place in committed.items()}
            new = [partition for partition in partitions if partition not in places]
            when = EARLIEST if self._subscription.start == "earliest" else LATEST
            places |= await list_offsets(self._network, new, when)
        except AccessDeniedError as error:
            self._denied = error  # fetch raises it
            return False
        except TransportError as error:
            _log.warning("group %r: its places are not known yet: %s", self._subscription.group, error)
            return False
        for partition, offset in places.items():
            self._seek(partition, offset)
        return True

    async def _revoked(self, partitions: Collection[Any]) -> None:
        await self._give_up()

    async def _give_up(self) -> None:
        """Tell the listener that what is ours will not be; afterwards nothing of it is committed any more."""
        self._is_member = False
        self._gate.shut()
        async with self._giving_up:
            if self._opening is not None:
                await self._end_opening(self._opening)
            told, self._told = sorted(self._told), frozenset()
            if told:
                # a little less than the brokers wait, so that we are back in time
                await self._tell(self._listener.on_revoked, told, timeout=0.9 * self._settings.rebalance_timeout)
            for task in list(self._commits):
                task.cancel()  # aiokafka would repeat it, with the generation that comes
            self._gate.release()

    async def _end_opening(self, opening: asyncio.Task[None]) -> None:
        """Let ``on_assigned`` return; cancel it when that takes too long, or when it has not begun."""
        patience = self._settings.rebalance_timeout / 2 if self._told else 0
        _, late = await asyncio.wait({opening}, timeout=patience)
        for task in late:
            task.cancel()
            await asyncio.wait({task}, timeout=self._settings.request_timeout)
        self._opening = None

    async def _tell(
        self,
        call: Callable[[Collection[Partition]], Awaitable[None]],
        partitions: Collection[Partition],
        *,
        timeout: float | None,
    ) -> None:
        try:
            async with asyncio.timeout(timeout):
                await call(partitions)
        except Exception:
            _log.exception("the assignment listener of group %r failed", self._subscription.group)

    # ---- records

    async def fetch(self, *, max_records: int, timeout: float) -> list[Record]:
        if self._is_closing:
            raise ClosedError(f"group {self._subscription.group!r}: this consumer is not open")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while not self._is_closing:
            if not self._gate.is_open:
                await self._wait_for_gate(max(deadline - loop.time(), 0))
            elif records := await self._take(max_records, deadline):
                return records
            if loop.time() >= deadline:
                break
        return []

    async def _take(self, most: int, deadline: float) -> list[Record]:
        """What is ready, at once: then nothing comes between the open gate and the caller. Else waits for some."""
        try:
            if records := self._fetched.take(most):
                self._failures = 0
                return records
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining > 0:
                await self._wait_for_more(remaining)
        except kafka_errors.KafkaError as error:
            await self._failed(error)
        except OddNamesError as odd:
            await self._mend(odd)
        return []

    async def _mend(self, odd: OddNamesError) -> None:
        try:
            self._fetched.mend(odd, await fetch_readable(self._network, odd))
        except TransportError as error:
            self._fetched.mend(odd, None)
            _log.warning("group %r: %s: trying again", self._subscription.group, error)
            await asyncio.sleep(_BACKOFF_SECONDS)

    async def _wait_for_gate(self, timeout: float) -> None:
        if self._denied is not None:
            denied, self._denied = self._denied, None
            raise denied
        if self._opening is not None and self._client is not None and not self._giving_up.locked():
            self._fetched.show_life()
        await self._unless_closed(self._gate.wait_open(), timeout)

    async def _wait_for_more(self, timeout: float) -> None:
        more = self._fetched.more()
        try:
            await asyncio.wait({more, *self._closings()}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if more.done():
                more.result()
        finally:
            more.cancel()

    async def _unless_closed(self, wait: Any, timeout: float) -> None:
        task: asyncio.Future[Any] = asyncio.create_task(wait)
        try:
            await asyncio.wait({task, *self._closings()}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            task.cancel()

    def _closings(self) -> tuple[asyncio.Future[Any], ...]:
        return (self._closed,) if self._closed is not None else ()

    async def _failed(self, error: kafka_errors.KafkaError) -> None:
        """Raise what the caller must know; the rest passes, or a new client is made."""
        ours = translated(error, f"group {self._subscription.group!r}")
        if isinstance(ours, OffsetLostError | AccessDeniedError):
            raise ours from error
        _log.warning("group %r: fetching failed, going on: %s", self._subscription.group, ours)
        self._failures += 1
        if self._failures >= _REBUILD_AFTER:
            self._failures = 0
            await self._rebuild()
        await asyncio.sleep(_BACKOFF_SECONDS)

    async def _rebuild(self) -> None:
        """aiokafka's background tasks do not come back when they die: begin with a new client."""
        _log.warning("group %r: the client does not recover: a new one is made", self._subscription.group)
        await self._give_up()
        client, self._client = self._client, None
        await stop_group_client(client, timeout=self._settings.request_timeout)
        while self._client is None and not self._is_closing:
            try:
                await self._connect()
            except UnreachableError:
                await asyncio.sleep(_BACKOFF_SECONDS)

    # ---- places

    async def commit(self, offsets: Mapping[Partition, Committed]) -> None:
        if self._client is None:
            raise ClosedError("this consumer is not open")
        if strangers := [partition for partition in offsets if partition not in self._gate.owned]:
            raise CommitFailedError(f"group {self._subscription.group!r}: not ours any more: {strangers}")
        theirs = {TopicPartition(*p): OffsetAndMetadata(c.offset, c.metadata) for p, c in offsets.items()}
        task = asyncio.create_task(self._client.commit(theirs))
        self._commits.add(task)
        task.add_done_callback(self._commits.discard)
        try:
            await asyncio.wait({task}, timeout=self._settings.request_timeout)
        finally:
            in_time = task.done()
            task.cancel()
        if not in_time:
            raise UnreachableError(f"group {self._subscription.group!r}: no answer to a commit: it may be stored")
        if task.cancelled():
            raise CommitFailedError(f"group {self._subscription.group!r}: the assignment has moved meanwhile")
        if error := task.exception():
            raise translated(error, f"committing for group {self._subscription.group!r}") from error

    async def committed(self, partition: Partition) -> Committed | None:
        return (await committed_places(self._network, self._subscription.group, [partition])).get(partition)

    def position(self, partition: Partition) -> int | None:
        if self._client is None or partition not in self._gate.owned:
            return None
        step = self._client.position(TopicPartition(*partition))
        try:  # a coroutine that waits only while the place is not known: then there is nothing to tell
            step.send(None)
        except StopIteration as done:
            return int(done.value)
        except kafka_errors.KafkaError:
            return None
        step.close()
        return None

    @property
    def is_member(self) -> bool:
        return self._is_member and not self._is_closing

    def assignment(self) -> frozenset[Partition]:
        return self._gate.owned

    def pause(self, partitions: Collection[Partition]) -> None:
        ours = self._gate.owned.intersection(partitions)
        self._gate.paused |= ours
        with contextlib.suppress(kafka_errors.IllegalStateError):
            self._client.pause(*_theirs(ours))

    def resume(self, partitions: Collection[Partition]) -> None:
        ours = self._gate.owned.intersection(partitions)
        self._gate.paused -= ours
        with contextlib.suppress(kafka_errors.IllegalStateError):
            self._client.resume(*_theirs(ours))
            self._fetched.wake()

    def paused(self) -> frozenset[Partition]:
        return self._gate.owned & self._gate.paused

    def seek(self, partition: Partition, offset: int) -> None:
        if partition in self._gate.owned:
            self._seek(partition, offset)

    def _seek(self, partition: Partition, offset: int) -> None:
        with contextlib.suppress(kafka_errors.IllegalStateError):  # it was revoked meanwhile
            self._client.seek(TopicPartition(*partition), offset)


def _theirs(partitions: Collection[Partition]) -> list[TopicPartition]:
    return [TopicPartition(*partition) for partition in partitions]
