"""What is a contestant told by the bench? ``BENCH_...`` in its environment."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path

from bench.contestants.arrivals import Arrivals
from bench.contestants.growth import Growth
from bench.contestants.watch import Watch

SERVERS = os.environ["BENCH_SERVERS"]
TOPIC = os.environ["BENCH_TOPIC"]
GROUP = os.environ["BENCH_GROUP"]

_KIND = {"cost": Watch, "arrivals": Arrivals, "growth": Growth}[os.environ.get("BENCH_WATCH", "cost")]
WATCH: Watch = _KIND(int(os.environ["BENCH_COUNT"]), int(os.environ["BENCH_WARM"]))


def telling() -> AbstractContextManager[None]:
    """Entered while records are handled: the result is written into ``BENCH_RESULT`` in the end."""
    return WATCH.telling(Path(os.environ["BENCH_RESULT"]))
