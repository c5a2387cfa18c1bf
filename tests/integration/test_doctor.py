"""Does ``orchestra doctor`` find a real Kafka as it is, and leave nothing behind on it?"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from typer.testing import CliRunner

from orchestra.cli.main import app
from orchestra.testing.plugin import Kafka

pytestmark = pytest.mark.kafka
APP = "services.food_delivery.app:app"


@pytest.fixture
def environment(kafka: Kafka) -> dict[str, str]:
    return {"ORCHESTRA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "ORCHESTRA_NAMESPACE": f"t-{os.urandom(3).hex()}"}


def doctor(environment: dict[str, str], *words: str) -> tuple[int, list[dict[str, Any]]]:
    result = CliRunner().invoke(app, ["doctor", "--json", *words], env=environment)
    return result.exit_code, json.loads(result.stdout)


def topics_of(servers: str) -> list[str]:
    async def names() -> list[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=servers)
        await admin.start()
        try:
            return await admin.list_topics()
        finally:
            await admin.close()

    return asyncio.run(names())


def test_a_real_kafka_passes_and_is_left_as_it_was(environment: dict[str, str]) -> None:
    code, found = doctor(environment)

    assert code == 0
    states = {finding["check"]: finding["state"] for finding in found}
    assert states.keys() >= {"versions", "cluster", "broker", "partitioner", "clock", "fence", "append"}
    assert set(states.values()) == {"ok"}
    assert [name for name in topics_of(environment["ORCHESTRA_BOOTSTRAP_SERVERS"]) if "orchestra-doctor" in name] == []


def test_the_brokers_release_is_told(environment: dict[str, str]) -> None:
    _, found = doctor(environment)

    (cluster,) = [finding for finding in found if finding["check"] == "cluster"]
    assert cluster["text"] == "Apache Kafka 4.3, 1 broker"


def test_missing_topics_are_found_created_and_found_well(environment: dict[str, str]) -> None:
    runner = CliRunner()
    code, found = doctor(environment, APP)
    assert code == 5
    (topics,) = [finding for finding in found if finding["check"] == "topics"]
    assert f"{environment['ORCHESTRA_NAMESPACE']}.food.inbox" in topics["text"]
    assert runner.invoke(app, ["topics", "check", APP], env=environment).exit_code == 5

    created = runner.invoke(app, ["topics", "create", APP, "--json"], env=environment)

    assert created.exit_code == 0
    assert {row["state"] for row in json.loads(created.stdout)} == {"created"}
    assert {
        row["state"]
        for row in json.loads(runner.invoke(app, ["topics", "check", APP, "--json"], env=environment).stdout)
    } == {"ok"}
    assert doctor(environment, APP)[0] == 0


def test_an_address_where_nobody_listens_is_code_4() -> None:
    code, found = doctor({"ORCHESTRA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})

    assert code == 4
    assert found[-1]["state"] == "failed"
    assert "127.0.0.1:1: Connect" in found[-1]["text"]


def test_an_address_without_a_port_is_told_how_to_write_one() -> None:
    code, found = doctor({"ORCHESTRA_BOOTSTRAP_SERVERS": "kafka"})

    assert code == 4
    assert "host:port" in found[-1]["remedy"]
