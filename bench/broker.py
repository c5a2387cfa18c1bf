"""On which Kafka is measured?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from orchestra.testing.kafka_cluster import KafkaCluster


@contextmanager
def kafka(folder: Path, console: Console) -> Iterator[str]:
    """A broker of the bench's own, or the one that ``ORCHESTRA_BOOTSTRAP_SERVERS`` names."""
    if given := os.environ.get("ORCHESTRA_BOOTSTRAP_SERVERS"):
        yield given
        return
    cluster = KafkaCluster.start(folder / "kafka", guarded=True, console=console)
    try:
        yield cluster.bootstrap_servers
    finally:
        cluster.stop()
