"""Does ``orchestra run`` start, do its work, drain on a signal, and end with the right code?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestra.testing.plugin import Kafka

pytestmark = pytest.mark.kafka
ORCHESTRA = str(Path(sys.executable).with_name("orchestra"))
ROOT = Path(__file__).parents[2]


class Process:
    """``orchestra run`` in a process of its own, and what it logs."""

    def __init__(self, words: list[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self.popen = subprocess.Popen(
                [ORCHESTRA, "run", "--json", *words], cwd=ROOT, env=os.environ | environment, stderr=output
            )

    def messages(self) -> list[str]:
        return [json.loads(line)["message"] for line in self.log.read_text().splitlines() if line.startswith("{")]

    def wait_logged(self, message: str, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while message not in self.messages():
            assert self.popen.poll() is None, f"it ended before it logged {message!r}:\n{self.log.read_text()}"
            assert time.monotonic() < deadline, f"it did not log {message!r}:\n{self.log.read_text()}"
            time.sleep(0.05)


@contextmanager
def running(words: list[str], environment: dict[str, str], log: Path) -> Iterator[Process]:
    process = Process(words, environment, log)
    try:
        yield process
    finally:
        process.popen.kill()
        process.popen.wait()


@pytest.fixture
def environment(kafka: Kafka, tmp_path: Path) -> dict[str, str]:
    return {
        "ORCHESTRA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "ORCHESTRA_NAMESPACE": f"t-run-{os.urandom(3).hex()}",
        "FOOD_DELIVERY_DATA": str(tmp_path),
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_with_0(environment: dict[str, str], tmp_path: Path, number: signal.Signals) -> None:
    with running(
        ["services.food_delivery.app:payments", "services.food_delivery.app:food"], environment, tmp_path / "log"
    ) as process:
        process.wait_logged("payments is running")
        process.wait_logged("food is running")

        process.popen.send_signal(number)

        assert process.popen.wait(20) == 0
    assert process.messages()[-1] == "stopped"
    assert {"payments has stopped", "food has stopped"} <= set(process.messages())


def test_in_production_missing_topics_end_it_with_5_and_a_text_without_a_traceback(
    environment: dict[str, str], tmp_path: Path
) -> None:
    production = environment | {"ORCHESTRA_ENV": "production"}
    with running(["services.food_delivery.app:payments"], production, tmp_path / "log") as process:
        assert process.popen.wait(20) == 5

    text = process.log.read_text()
    assert "payments.commands" in text
    assert "orchestra topics create" in text
    assert "Traceback" not in text


def test_no_broker_is_code_4(environment: dict[str, str], tmp_path: Path) -> None:
    nowhere = environment | {"ORCHESTRA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    with running(["services.food_delivery.app:payments"], nowhere, tmp_path / "log") as process:
        assert process.popen.wait(30) == 4

    assert "ORCHESTRA_BOOTSTRAP_SERVERS is 127.0.0.1:1" in process.log.read_text()
