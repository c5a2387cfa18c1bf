"""What can be said of a running service, from outside? Plain facts, read off its parts when somebody asks; nothing is
kept for it while records are handled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from orchestra.health.facts import LostHandler, PartitionFacts
from orchestra.service.lanes import Lanes
from orchestra.service.share import Lane, Share, Worker
from orchestra.transport.port import Consumer, Partition

_ISOLATION = "a record before it that may have ended its process"


def partition_facts(shares: Collection[Share], lanes: Lanes, consumer: Consumer) -> tuple[PartitionFacts, ...]:
    """The facts of each partition that is not being given up."""
    mine: dict[Share, list[Lane]] = {share: [] for share in shares if not share.is_draining}
    for lane in (*lanes.each(), *(lane for share in mine for lane in share.held)):
        if lane.share in mine:
            mine[lane.share].append(lane)
    at_work: dict[Share, list[Worker]] = {}
    for worker in lanes.workers:
        if worker.lane is not None:
            at_work.setdefault(worker.lane.share, []).append(worker)
    paused = consumer.paused()
    return tuple(_facts(share, mine[share], at_work.get(share, ()), consumer, paused) for share in mine)


def _facts(
    share: Share,
    lanes: Iterable[Lane],
    workers: Collection[Worker],
    consumer: Consumer,
    paused: Collection[Partition],
) -> PartitionFacts:
    oldest = min((lane.records[0] for lane in lanes if lane.records), key=lambda record: record.offset, default=None)
    return PartitionFacts(
        partition=share.partition,
        committed=None if share.committed is None else share.committed.offset,
        position=consumer.position(share.partition),
        window=share.queued,
        busy=share.busy,
        oldest_ms=None if oldest is None else oldest.timestamp_ms,
        waiting=_waiting(share),
        paused=_paused(share, is_paused=share.partition in paused),
        overdue=next((worker.handler for worker in workers if worker.is_timed_out), None),
        is_open_ended=any(worker.deadline is None for worker in workers),
    )


def _paused(share: Share, *, is_paused: bool) -> str | None:
    if share.is_held_back:
        return "nothing more of this retry topic is due"
    if share.is_paused:
        return f"full: {share.queued} records are queued"
    return "nothing is fetched for now" if is_paused else None


def _waiting(share: Share) -> dict[str, int]:
    """Why -> how many records wait for it: the oldest of a lane that has no worker, and those behind it."""
    waiting: Counter[str] = Counter()
    for lane in share.parked:
        if lane.progress is not None:
            waiting[lane.progress.why] += len(lane.records)
    if share.held:
        waiting[_ISOLATION] = sum(len(lane.records) for lane in share.held)
    return dict(waiting)


def lost_handlers(since: Mapping[Worker, float], lanes: Lanes) -> tuple[LostHandler, ...]:
    """Handlers that were given up and still run. ``since``: when each was given up."""
    return tuple(LostHandler(worker.handler, since[worker]) for worker in lanes.lost if worker in since)
