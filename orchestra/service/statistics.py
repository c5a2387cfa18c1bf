"""What has a service done since it started?"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Statistics:
    """Counts since the start, and what is under way now."""

    handled: int = 0
    """Records that are done, whatever came of them; without those skipped."""
    skipped: int = 0
    """Of a type that nobody here subscribed to."""
    dead_letters: int = 0
    held: int = 0
    """Dead letters put off because the budget of their partition was spent."""
    pressed: int = 0
    """Records made to leave because a whole window of their partition was done behind them."""
    refused: int = 0
    """Commands refused as expired or barred."""
    dropped: int = 0
    """Expired commands of handlers without a ledger: not begun and not answered."""
    retries: int = 0
    """Attempts after the first that were waited for in place."""
    diverted: int = 0
    """Records put on a retry topic, for an attempt after the first."""
    followed: int = 0
    """Records put on a retry topic unbegun, because an earlier one of their key is there."""
    latest_retry: float = 0.0
    """Seconds: the longest that an attempt from a retry topic came after its time."""
    waits: int = 0
    """Times that a handling waited for a dependency that was down."""
    abandoned: int = 0
    """Handlers given up because they ignored their cancellation."""
    lost_threads: int = 0
    """Plain functions that were given up and still run in their threads, now."""
    commit_failures: int = 0
    queued: int = 0
    """Records fetched and not done, now."""
    workers: int = 0
    """Handlers running or idle, now."""
    partitions: int = 0
    """Assigned now."""
    paused: int = 0
    """Partitions not fetched from because too much of them is queued, now."""
    down: tuple[str, ...] = ()
    """Resources and handlers whose circuit is not closed, each with the error that opened it, now."""
    background: dict[str, object] = field(default_factory=dict[str, object])
    """What the work beside the handlers shows of itself, by name: ``outbox``."""
