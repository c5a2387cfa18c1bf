"""Does ``orchestra run`` start, do its work, drain on a signal, and end with the right code?"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from orchestra.testing.plugin import Kafka
from tests.integration.run_process import running

pytestmark = pytest.mark.kafka


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
