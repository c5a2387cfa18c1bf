"""What can be said of a running shard, from outside? Plain facts, read off its keeper when somebody asks."""

from __future__ import annotations

from orchestra.coordinator.keeper import Keeper
from orchestra.health.facts import PartitionFacts
from orchestra.transport.port import Consumer, Partition


def shard_facts(keeper: Keeper, inbox: Partition, consumer: Consumer, *, is_full: bool) -> PartitionFacts:
    """The facts of a shard and its partition of the inbox."""
    owner = keeper.owner
    stopped = None if keeper.stopped is None else f"the shard is stopped: {keeper.stopped}"
    if owner is None or not keeper.is_open:
        return PartitionFacts(inbox, paused="the shard is being taken over", stopped=stopped)
    return PartitionFacts(
        partition=inbox,
        committed=owner.shard.durable + 1 if owner.shard.durable >= 0 else None,
        position=consumer.position(inbox),
        window=owner.waiting,
        busy=min(owner.waiting, 1),
        oldest_ms=owner.oldest_ms,
        paused=f"full: {owner.waiting} records are queued" if is_full else None,
        stopped=stopped,
    )


def unready_shard(number: int, keeper: Keeper | None) -> str | None:
    """Why an assigned shard does not work, or None."""
    if keeper is None or not (keeper.is_open or keeper.stopped):
        return f"shard {number} is being taken over"
    return None if keeper.stopped is None else f"shard {number} is stopped: {keeper.stopped}"
