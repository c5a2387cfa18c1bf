"""Do the commands that look tell what really happened? An app runs on a real Kafka, and an operator asks."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from typer.testing import CliRunner

from orchestra.cli.main import app
from orchestra.testing.plugin import Kafka

pytestmark = pytest.mark.kafka
ROOT = Path(__file__).parents[2]
ORCHESTRA = str(Path(sys.executable).with_name("orchestra"))
APP = "services.food_delivery.app:app"


def order(number: int, card: str) -> bytes:
    data = {
        "order_id": f"o-{number}",
        "items": [{"sku": "ramen", "quantity": 1}],
        "total_cents": 1000,
        "card": card,
        "zone": "centre",
    }
    event = {"specversion": "1.0", "id": f"e-{number}", "source": "/t", "type": "shop.order.placed.v1", "data": data}
    return json.dumps(event).encode()


class Operator:
    """Types commands."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def asks(self, *words: str) -> Any:
        result = CliRunner().invoke(app, [*words, "--json"], env=self.environment)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def reads(self, *words: str) -> str:
        result = CliRunner().invoke(app, list(words), env=self.environment)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    def waits_until_all_ended(self, count: int) -> list[dict[str, Any]]:
        deadline = time.monotonic() + 60
        while True:
            found = self.asks("instances", "list", APP)
            if len(found) == count and all(one["status"] in ("completed", "compensated") for one in found):
                return list(found)
            assert time.monotonic() < deadline, found
            time.sleep(0.3)


@pytest.fixture(scope="module")
def operator(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """After two orders, one of which is declined, and a record that is no order."""
    environment = {
        "ORCHESTRA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "ORCHESTRA_NAMESPACE": f"t-op-{os.urandom(3).hex()}",
        "SERVICES_DATA": str(tmp_path_factory.mktemp("data")),
    }
    operator = Operator(environment)
    operator.reads("topics", "create", APP)
    process = subprocess.Popen([ORCHESTRA, "run", APP], cwd=ROOT, env=os.environ | environment)
    try:
        asyncio.run(submit(environment, order(1, "card-1"), order(2, "card-stolen"), b"not an order"))
        operator.waits_until_all_ended(2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        yield operator
    finally:
        process.kill()
        process.wait()


async def submit(environment: dict[str, str], *values: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=environment["ORCHESTRA_BOOTSTRAP_SERVERS"])
    await producer.start()
    try:
        for value in values:
            topic = f"{environment['ORCHESTRA_NAMESPACE']}.shop.orders"
            headers = [("content-type", b"application/cloudevents+json")]
            await producer.send_and_wait(topic, value, headers=headers)
    finally:
        await producer.stop()


def test_instances_are_listed_with_how_they_ended(operator: Operator) -> None:
    listed = {one["id"]: one["status"] for one in operator.asks("instances", "list", APP)}

    assert listed == {"food-order/o-1": "completed", "food-order/o-2": "compensated"}
    assert operator.asks("instances", "list", APP, "--live") == []
    assert "2 instances: " in operator.reads("instances", "list", APP)


def test_an_instance_shows_its_steps_and_its_history(operator: Operator) -> None:
    shown = operator.asks("instances", "show", APP, "o-2")

    assert [(step["name"], step["status"]) for step in shown["steps"]] == [
        ("reserve", "done"),
        ("release", "done"),
        ("charge", "rejected"),
        ("assign", "waiting"),
    ]
    assert [line["what"] for line in shown["history"]][-1] == "flow.compensated"
    assert shown["unsent"] == 0
    text = operator.reads("instances", "show", APP, "o-2")
    assert text.startswith("food-order/o-2  compensated")
    assert "payments.payment.declined.v1" in text


def test_a_request_that_no_coordinator_takes_is_stored_and_says_so(operator: Operator) -> None:
    words = ["instances", "cancel", APP, "o-1", "--reason", "changed my mind", "--by", "ann"]

    result = CliRunner().invoke(app, words, env=operator.environment)

    assert result.exit_code == 1
    assert result.stdout.startswith("food-order/o-1: cancel is stored, and no coordinator has taken it within")


def test_dead_letters_are_listed_with_their_reason_and_source(operator: Operator) -> None:
    (letter,) = operator.asks("dead-letters", "list", "orders.dead-letters")

    assert letter["reason"] == "DECODE"
    assert letter["source_topic"].endswith(".shop.orders")
    assert "DECODE" in operator.reads("dead-letters", "list", "orders.dead-letters")


def test_the_keys_of_a_producer_that_gave_none_are_no_reason_to_worry(operator: Operator) -> None:
    keys = [finding for finding in operator.asks("doctor", APP) if finding["check"] == "keys"]

    assert [finding["state"] for finding in keys] == ["ok"]
