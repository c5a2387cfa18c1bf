"""Does the comparison run to its end, and does nobody lose anything? A hundredth of it; speed is not judged."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from bench.bench import Bench
from bench.consuming import TOPICS, consuming
from orchestra.testing.plugin import Kafka

pytestmark = pytest.mark.kafka


async def test_every_contestant_handles_and_commits_every_order_once(kafka: Kafka, tmp_path: Path) -> None:
    bench = Bench(kafka.bootstrap_servers, tmp_path, Console(file=io.StringIO()), quick=True, divisor=100)

    figures = {figure.name: figure for figure in await consuming(bench)}

    for contestant in TOPICS:
        assert figures[f"consuming: {contestant.name}"].value > 0
    for fault in ("records lost", "records handled twice", "committed offsets off the end"):
        assert figures[f"consuming: {fault}"].value == 0, figures[f"consuming: {fault}"].note
