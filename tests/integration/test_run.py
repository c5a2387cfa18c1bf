"""Does ``orchestra run`` start, do its work, drain on a signal, and end with the right code?"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from orchestra.settings import Settings
from orchestra.testing.plugin import Kafka
from orchestra.transport.kafka.transport import KafkaTransport
from orchestra.transport.port import TopicSpec
from tests.integration.run_process import running

pytestmark = pytest.mark.kafka


@pytest.fixture
def environment(kafka: Kafka, tmp_path: Path) -> dict[str, str]:
    return {
        "ORCHESTRA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "ORCHESTRA_NAMESPACE": f"t-run-{os.urandom(3).hex()}",
        "SERVICES_DATA": str(tmp_path),
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


async def test_topics_that_are_not_as_needed_are_all_told_at_once_each_with_its_remedy(
    environment: dict[str, str], tmp_path: Path
) -> None:
    settings = Settings.from_environment(environment)
    name = settings.scoped
    transport = KafkaTransport(settings)
    await transport.start()
    await transport.topics.create(
        [
            TopicSpec(name("moody.acts"), 6, {"max.message.bytes": "2000000"}),
            TopicSpec(name("moody.dead-letters"), 2, {"cleanup.policy": "compact", "retention.ms": "1000"}),
        ]
    )
    await transport.aclose()

    with running(["tests.integration.moody:moody"], environment, tmp_path / "log") as process:
        assert await asyncio.to_thread(process.popen.wait, 20) == 5

    (report,) = [entry["message"] for entry in process.entries() if entry["level"] == "CRITICAL"]
    letters = name("moody.dead-letters")
    alter = f"kafka-configs.sh --alter --entity-type topics --entity-name {letters} --add-config"
    assert report.splitlines() == [
        "1 of 2 topics is not as needed",
        f"  {letters}: has cleanup.policy=compact, must have delete",
        f"      {alter} cleanup.policy=delete",
        f"  {letters}: has retention.ms=1000, must have at least 1209600000",
        f"      {alter} retention.ms=1209600000",
        f"  {letters}: has 2 partitions, must have at least the 6 of {name('moody.acts')}",
        f"      kafka-topics.sh --alter --topic {letters} --partitions 6",
        f"  {letters}: has max.message.bytes=1048588, must have at least the 2000000 of {name('moody.acts')}",
        f"      {alter} max.message.bytes=2000000",
    ]
