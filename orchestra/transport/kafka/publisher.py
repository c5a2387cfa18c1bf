"""How are records put on topics, with a word on each or on all? acks=all, idempotent, one request a broker at a time.

It takes the place of aiokafka's producer, which, after one failed batch, refuses everything for that partition until it
is made anew, sends late batches behind its caller's back, and may never stop (``docs/adr/0002-kafka-writers.md``).
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import aiokafka.errors as kafka_errors

from orchestra.errors import ClosedError, OutcomeUnknownError, TopicError, TransportError, UnreachableError
from orchestra.settings import Settings
from orchestra.transport.acknowledgement import fail
from orchestra.transport.delivery import Tally
from orchestra.transport.kafka.batch import Batch, Verdict, produce_request, verdicts
from orchestra.transport.kafka.failures import (
    DUPLICATE_SEQUENCE,
    NO_ERROR,
    OUT_OF_ORDER_SEQUENCE,
    UNKNOWN_TOPIC,
    failure,
    is_transient,
)
from orchestra.transport.kafka.identity import take_identity
from orchestra.transport.kafka.lane import Lane, Part
from orchestra.transport.kafka.network import Network
from orchestra.transport.kafka.topic_lookup import TopicLookup
from orchestra.transport.kafka.waiting import Parcel, Waiting
from orchestra.transport.partitioner import murmur2, partitions_for
from orchestra.transport.port import Identity, Outgoing, Partition, Position

_BACKOFF_SECONDS: Final = 0.05
_SWEEP_SECONDS: Final = 0.1
_REQUEST_BYTES: Final = 16 << 20
_MOST_PENDING: Final = 20_000
_MOST_PENDING_BYTES: Final = 64 << 20
_REFRESH_SECONDS: Final = 300.0
"""How old may be what we know of topics: partitions may have been added."""

_OF_ONE_RECORD: Final = frozenset({10, 18, 32, 87})
"""Too large, bad timestamp, no key: the broker refuses a whole batch for one record."""
_LOST_COUNT: Final = frozenset({OUT_OF_ORDER_SEQUENCE, 47, 59, 90})
"""The broker does not know this identity's last record, or knows a newer epoch."""

_hash = lru_cache(maxsize=8192)(murmur2)


class KafkaPublisher:
    """The port's Publisher on Kafka. Owns its network."""

    def __init__(self, network: Network, settings: Settings, *, linger: float = 0.0) -> None:
        self._network = network
        self._timeout = settings.delivery_timeout
        self._linger = linger
        self._lanes: dict[Partition, Lane] = {}
        self._ready: dict[Partition, Lane] = {}
        """Lanes with something to send and nothing under way, the longest waiting first."""
        self._busy: set[int] = set()
        """Brokers that have not answered our last request."""
        self._identity: Identity | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._chores: dict[str, asyncio.Task[None]] = {}
        self._topics = TopicLookup(network)
        self._refreshed = 0.0
        self._round_robin = 0
        self._pending = 0
        self._bytes = 0
        self._room = asyncio.Event()
        self._idle = asyncio.Event()
        self._is_scheduled = False
        self._sweeper: asyncio.TimerHandle | None = None
        self._state = "new"

    # ---- life

    async def start(self) -> None:
        if self._state == "new":
            await self._network.start()
            self._refreshed = asyncio.get_running_loop().time()
            self._state = "open"

    async def aclose(self) -> None:
        if self._state == "open":
            self._state = "closed"
            self._room.set()
            if self._pending:
                self._idle.clear()
                await asyncio.wait([asyncio.create_task(self._idle.wait())], timeout=self._network.timeout)
            self._abandon()
            self._state = "ended"
            await self._topics.aclose()
            for task in (tasks := [*self._tasks, *self._chores.values()]):
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            await self._network.aclose()

    @property
    def is_closed(self) -> bool:
        return self._state in ("closed", "ended")

    def _check_open(self) -> None:
        if self._state != "open":
            raise ClosedError(f"this publisher is {self._state}: it is not open")

    def _abandon(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        for lane in self._lanes.values():
            for part in list(lane.held()):
                self._fail(part, _late(lane, part, "closed before it was acknowledged"))

    # ---- taking records

    async def send(self, record: Outgoing) -> asyncio.Future[Position]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Position] = loop.create_future()
        deadline = loop.time() + self._timeout
        try:
            if self._state != "open" or self._pending >= _MOST_PENDING or self._bytes >= _MOST_PENDING_BYTES:
                await self._wait_for_room(deadline)
            number = record.partition
            if number is None:
                count = self._network.partitions(record.topic) or await self._topics.count(record.topic, deadline)
                number = self._choose(record.key, count)
        except ClosedError:
            raise
        except TransportError as error:
            fail(future, error)
            return future
        size = len(record.key or b"") + len(record.value or b"") + 64 * (1 + len(record.headers))
        self._put(self._lane(record.topic, number), Waiting(record, future, deadline, size))
        return future

    async def send_many(self, records: Sequence[Outgoing]) -> Tally:
        tally = Tally(len(records))
        deadline = asyncio.get_running_loop().time() + self._timeout
        by_topic: defaultdict[str, list[int]] = defaultdict(list)
        for place, topic in enumerate([record.topic for record in records]):
            by_topic[topic].append(place)
        for topic, places in by_topic.items():
            try:
                if self._state != "open" or self._is_full():
                    await self._wait_for_room(deadline)
                count = self._network.partitions(topic) or await self._topics.count(topic, deadline)
            except ClosedError:
                raise
            except TransportError as error:
                tally.failed(places, error)
            else:
                self._share_out(topic, count, records, places, tally, deadline)
        return tally

    def _share_out(
        self,
        topic: str,
        count: int,
        records: Sequence[Outgoing],
        places: list[int],
        tally: Tally,
        deadline: float,
    ) -> None:
        """A parcel for each partition, of the records at these places."""
        keys: list[bytes] = []
        for place in places:
            record = records[place]
            if record.key is None or record.partition is not None:
                numbers = [self._number(records[place], count) for place in places]
                break
            keys.append(record.key)
        else:
            numbers = partitions_for(keys, count)
        shares: defaultdict[int, list[int]] = defaultdict(list)
        for place, number in zip(places, numbers, strict=True):
            shares[number].append(place)
        for number, share in shares.items():
            mine = [records[place] for place in share]
            size = sum([len(each.value or b"") + 64 * (2 + len(each.headers)) for each in mine])
            self._put(self._lane(topic, number), Parcel(tally, mine, share, deadline, size))

    def _is_full(self) -> bool:
        return self._pending >= _MOST_PENDING or self._bytes >= _MOST_PENDING_BYTES

    async def _wait_for_room(self, deadline: float) -> None:
        """Raises ClosedError, UnreachableError."""
        self._check_open()
        try:
            async with asyncio.timeout_at(deadline):
                while self._state == "open" and self._is_full():
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            raise UnreachableError(f"not sent: {self._pending} records wait already") from None
        self._check_open()

    def _put(self, lane: Lane, part: Part) -> None:
        lane.waiting.append(part)
        self._pending += part.held
        self._bytes += part.size
        if lane.batch is None and lane.partition not in self._ready:
            self._ready[lane.partition] = lane
            self._schedule()
        elif self._linger > 0:
            self._schedule()  # it may be full now
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep)

    def _lane(self, topic: str, number: int) -> Lane:
        place: Any = (topic, number)  # found as a Partition is, and cheaper to make
        lane = self._lanes.get(place)
        if lane is None:
            partition = Partition(topic, number)
            lane = self._lanes[partition] = Lane(partition)
        return lane

    def _number(self, record: Outgoing, count: int) -> int:
        return self._choose(record.key, count) if record.partition is None else record.partition

    def _choose(self, key: bytes | None, count: int) -> int:
        if key is not None:
            return (_hash(key) & 0x7FFFFFFF) % count
        self._round_robin += 1
        return self._round_robin % count

    async def publish(self, records: Sequence[Outgoing]) -> list[Position]:
        futures: list[asyncio.Future[Position]] = []
        try:
            for record in records:
                future = await self.send(record)
                futures.append(future)
        finally:
            if futures:
                await asyncio.wait(futures)
        return [future.result() for future in futures]

    # ---- sending

    def _schedule(self) -> None:
        if not self._is_scheduled and self._state != "ended":
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        """Give each idle broker one request with a batch of each ready lane that it leads."""
        self._is_scheduled = False
        if self._state == "ended":
            return
        loop = asyncio.get_running_loop()
        now, wake = loop.time(), math.inf
        requests: dict[int, list[Lane]] = {}
        sizes: defaultdict[int, int] = defaultdict(int)
        for partition, lane in list(self._ready.items()):
            lane.shed(self._release)
            if lane.batch is None and not lane.waiting:
                del self._ready[partition]
            elif (due := lane.due(self._linger, self._timeout)) > now:
                wake = min(wake, due)
            elif (leader := self._network.leader(partition)) is None:
                self._chore("leaders", self._find_leaders)
            elif leader not in self._busy and sizes[leader] < _REQUEST_BYTES and self._is_armed(lane):
                del self._ready[partition]
                if (batch := lane.load(self._release)) is not None:
                    requests.setdefault(leader, []).append(lane)
                    sizes[leader] += len(batch.data)
                    lane.depart()
        for leader, lanes in requests.items():
            self._busy.add(leader)
            task = asyncio.create_task(self._carry(leader, lanes))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if wake < math.inf:
            loop.call_at(wake, self._schedule)

    def _is_armed(self, lane: Lane) -> bool:
        """Whether the lane has an identity to write with; else one is asked for."""
        if lane.batch is None and lane.identity is None:
            if self._identity is None or self._identity == lane.burnt:
                self._identity = None
                self._chore("identity", self._renew_identity)
                return False
            lane.identity = self._identity
        return True

    async def _carry(self, leader: int, lanes: list[Lane]) -> None:
        try:
            await self._request(leader, lanes)
        finally:
            self._busy.discard(leader)
            self._schedule()

    async def _request(self, leader: int, lanes: list[Lane]) -> None:
        batches = {lane.partition: lane.batch for lane in lanes if lane.batch is not None}
        request = produce_request(batches.items(), self._network.timeout)
        try:
            words = verdicts(await self._network.ask(leader, request))
        except (kafka_errors.NodeNotReadyError, kafka_errors.StaleMetadata):
            for lane in lanes:  # no connection
                lane.came_back()
                self._again(lane, leader_is_known=False)
            return
        except (kafka_errors.KafkaError, OSError):
            for lane in lanes:
                self._again(lane, leader_is_known=False)
            return
        for lane in lanes:
            self._judge(lane, batches[lane.partition], words[lane.partition])

    def _judge(self, lane: Lane, batch: Batch[Part], verdict: Verdict) -> None:
        code = verdict.code
        if code in (NO_ERROR, DUPLICATE_SEQUENCE):  # the second: stored, so long ago that its offset (-1) is forgotten
            lane.stored()
            for part, offset in batch.stored_at(verdict.offset):
                self._release(part)
                part.stored(lane.partition, offset)
        elif code == UNKNOWN_TOPIC or is_transient(code):
            self._again(lane, leader_is_known=False)
            return
        elif code in _OF_ONE_RECORD and batch.count > 1:
            lane.put_back(singly=True)
        elif code in _LOST_COUNT and lane.attempts == 1:  # refused, and never sent before: surely not stored
            lane.put_back(singly=False)
            lane.burn()
        elif code in _LOST_COUNT:
            lane.burn()
            self._fail_all(batch.parts, OutcomeUnknownError(str(failure(code, f"sending to {lane.partition.topic}"))))
        else:
            lane.refused()
            error = failure(code, f"sending to {lane.partition.topic}[{lane.partition.number}]")
            self._fail_all(batch.parts, error)
        if lane.waiting:
            self._ready[lane.partition] = lane

    def _again(self, lane: Lane, *, after: float = _BACKOFF_SECONDS, leader_is_known: bool = True) -> None:
        """Send the same batch once more."""
        if not leader_is_known:
            self._network.forget(lane.partition)
        lane.not_before = asyncio.get_running_loop().time() + after
        if lane.batch is not None or lane.waiting:
            self._ready[lane.partition] = lane

    # ---- chores: what several lanes may lack at once

    def _chore(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if name not in self._chores and self._network.is_open:
            self._chores[name] = asyncio.create_task(self._do_chore(name, work))

    async def _do_chore(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except (kafka_errors.KafkaError, OSError, TransportError):
            await asyncio.sleep(_BACKOFF_SECONDS)  # records expire meanwhile, if it goes on like this
        finally:
            self._chores.pop(name, None)
            self._schedule()

    async def _renew_identity(self) -> None:
        self._identity = await take_identity(self._network)

    async def _refresh(self) -> None:
        await self._network.learn({partition.topic for partition in self._lanes})

    async def _find_leaders(self) -> None:
        lanes = [lane for partition, lane in self._ready.items() if self._network.leader(partition) is None]
        topics = {lane.partition.topic for lane in lanes}
        try:
            found = await self._network.learn(topics)
        except TransportError as error:
            if isinstance(error, UnreachableError):
                raise
            self._refuse(lanes, error)
            return
        for topic in topics & set(found):
            self._topics.found(topic)
        for topic in topics - set(found):
            if self._topics.not_found(topic):
                lost = [lane for lane in lanes if lane.partition.topic == topic]
                self._refuse(lost, TopicError(f"topic {topic!r} does not exist"))
        for lane in lanes:
            topic, number = lane.partition
            if topic in found and number not in found[topic].leaders:
                self._refuse([lane], TopicError(f"topic {topic!r} has no partition {number}"))
        if any(self._network.leader(lane.partition) is None for lane in lanes):
            await asyncio.sleep(_BACKOFF_SECONDS)  # an election, or a topic that is not known everywhere yet

    def _refuse(self, lanes: Sequence[Lane], error: TransportError) -> None:
        """Nothing can be sent there: fail what waits."""
        for lane in lanes:
            self._fail_all(list(lane.held()), error)
            lane.burn()
            lane.waiting.clear()
            self._ready.pop(lane.partition, None)

    # ---- giving up

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeper = None
        for lane in self._lanes.values():
            for part in list(lane.expired(loop.time())):
                self._fail(part, _late(lane, part, f"no acknowledgement within {self._timeout} s"))
        if loop.time() - self._refreshed > _REFRESH_SECONDS:
            self._refreshed = loop.time()
            self._chore("refresh", self._refresh)
        if self._pending:
            self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep)

    def _fail_all(self, parts: Iterable[Part], error: TransportError) -> None:
        for part in parts:
            self._fail(part, type(error)(str(error)))

    def _fail(self, part: Part, error: TransportError) -> None:
        self._release(part)
        part.fail(error)

    def _release(self, part: Part) -> None:
        """It no longer takes up space."""
        if part.size:
            self._bytes -= part.size
            self._pending -= part.held
            part.size = 0
            self._room.set()
            if not self._pending:
                self._idle.set()


def _late(lane: Lane, part: Part, why: str) -> TransportError:
    where = lane.partition.topic
    return OutcomeUnknownError(f"{where}: {why}") if part.is_sent else UnreachableError(f"{where}: not sent: {why}")
