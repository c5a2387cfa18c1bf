"""Anything that speaks Kafka can take part: here confluent-kafka alone starts orders and answers every command.

The participant copies what it must copy (``flowid``, ``effectid``, ``correlationid``), names the partition that it was
told, and knows nothing else. The CloudEvents SDK reads what the coordinator sends, as a second opinion.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat
from confluent_kafka import Consumer, Message, Producer

from orchestra.settings import Settings
from orchestra.testing.plugin import Kafka
from services.food_delivery.app import food
from tests.integration.running import running

pytestmark = pytest.mark.kafka

COMMAND_TOPICS = ("inventory.commands", "payments.commands", "dispatch.commands")
CONFIRMED, REJECTED = "shop.order.confirmed.v1", "shop.order.rejected.v1"

Answer = tuple[str, dict[str, object]]
Answers = dict[str, Callable[[dict[str, Any]], Answer]]

DONE: Answers = {
    "inventory.items.reserve.v1": lambda it: ("inventory.items.reserved.v1", {"order_id": it["order_id"]}),
    "inventory.items.release.v1": lambda it: ("inventory.items.released.v1", {"order_id": it["order_id"]}),
    "payments.payment.charge.v1": lambda it: (
        "payments.payment.charged.v1",
        {"order_id": it["order_id"], "amount_cents": it["amount_cents"]},
    ),
    "payments.payment.refund.v1": lambda it: (
        "payments.payment.refunded.v1",
        {"order_id": it["order_id"], "amount_cents": 950},
    ),
    "dispatch.driver.assign.v1": lambda it: (
        "dispatch.driver.assigned.v1",
        {"order_id": it["order_id"], "driver_id": "ana"},
    ),
}
NO_DRIVER: Answers = DONE | {
    "dispatch.driver.assign.v1": lambda it: (
        "dispatch.driver.none-free.v1",
        {"order_id": it["order_id"], "zone": it["zone"]},
    )
}


class PlainProgram(threading.Thread):
    """A consumer and a producer of confluent-kafka, in a thread of their own: starts an order, answers, waits."""

    def __init__(self, servers: str, namespace: str, answers: Answers) -> None:
        super().__init__(daemon=True)
        self.topics = [f"{namespace}.{topic}" for topic in (*COMMAND_TOPICS, "shop.orders")]
        self.orders = f"{namespace}.shop.orders"
        self.answers = answers
        self.commands: list[Message] = []
        self.endings: list[Message] = []
        self.failure: Exception | None = None
        self._ended = threading.Event()
        self._producer = Producer({"bootstrap.servers": servers})
        self._consumer = Consumer(
            {"bootstrap.servers": servers, "group.id": f"{namespace}.plain", "auto.offset.reset": "earliest"}
        )

    def place(self, order: str) -> None:
        """A start event in structured mode. librdkafka's own partitioner chooses the partition."""
        event = {
            "specversion": "1.0",
            "id": f"placed-{order}",
            "source": "/a/shop",
            "type": "shop.order.placed.v1",
            "datacontenttype": "application/json",
            "data": {
                "order_id": order,
                "items": [{"sku": "ramen", "quantity": 1}],
                "total_cents": 950,
                "card": "card-1",
                "zone": "centre",
            },
        }
        headers = {"content-type": "application/cloudevents+json; charset=UTF-8"}
        self._producer.produce(self.orders, json.dumps(event), key=order, headers=headers)
        self._producer.flush(10)

    def run(self) -> None:
        try:
            self._consumer.subscribe(self.topics)
            while not self._ended.is_set():
                message = self._consumer.poll(0.2)
                if message is not None and message.error() is None:
                    self._take(message)
        except Exception as error:
            self.failure = error
        finally:
            self._consumer.close()

    def _take(self, message: Message) -> None:
        if message.topic() != self.orders:
            self.commands.append(message)
            self._answer(message)
        elif dict(message.headers() or []).get("ce_type") in (CONFIRMED.encode(), REJECTED.encode()):
            self.endings.append(message)

    def _answer(self, command: Message) -> None:
        kind, data = self.answers[attribute(command, "type")](json.loads(command.value() or b""))
        headers = {
            "ce_specversion": "1.0",
            "ce_id": str(uuid.uuid4()),
            "ce_source": "/a/plain/participant",
            "ce_type": kind,
            "content-type": "application/json",
        }
        for name in ("flowid", "effectid", "correlationid"):
            headers[f"ce_{name}"] = attribute(command, name)
        self._producer.produce(
            attribute(command, "replyto"),
            json.dumps(data),
            key=attribute(command, "flowid"),
            partition=int(attribute(command, "replypartition")),
            headers=headers,
        )
        self._producer.flush(10)

    async def wait_for_ending(self) -> Message:
        async with asyncio.timeout(60):
            while not self.endings:
                if self.failure is not None:
                    raise self.failure
                await asyncio.sleep(0.05)
        return self.endings[0]

    def end(self) -> None:
        self._ended.set()
        self.join(10)

    def kinds(self) -> list[str]:
        """The types of the commands, in the order in which they came."""
        return [attribute(command, "type") for command in self.commands]


def attribute(message: Message, name: str) -> str:
    return dict(message.headers() or [])[f"ce_{name}"].decode()


def read_by_sdk(message: Message) -> BaseCloudEvent:
    headers = dict(message.headers() or [])
    return from_binary(KafkaMessage(headers, message.key(), message.value() or b""), JSONFormat())


@asynccontextmanager
async def order_ends(kafka: Kafka, answers: Answers) -> AsyncIterator[PlainProgram]:
    """A coordinator, and a plain program that placed one order and saw it end."""
    namespace = f"interop-{uuid.uuid4().hex[:8]}"
    settings = Settings(bootstrap_servers=kafka.bootstrap_servers, namespace=namespace, partitions=4)
    async with running(settings, food):
        program = PlainProgram(kafka.bootstrap_servers, namespace, answers)
        program.start()
        try:
            await asyncio.to_thread(program.place, f"order-{namespace}")
            await program.wait_for_ending()
            yield program
        finally:
            await asyncio.to_thread(program.end)


async def test_a_plain_participant_takes_an_order_from_a_structured_start_to_its_confirmation(kafka: Kafka) -> None:
    async with order_ends(kafka, DONE) as program:
        [ending] = program.endings

    assert attribute(ending, "type") == CONFIRMED
    assert json.loads(ending.value() or b"")["driver_id"] == "ana"
    assert program.kinds() == [
        "inventory.items.reserve.v1",
        "payments.payment.charge.v1",
        "dispatch.driver.assign.v1",
    ]


async def test_commands_are_valid_events_to_the_cloudevents_sdk(kafka: Kafka) -> None:
    async with order_ends(kafka, DONE) as program:
        events = [read_by_sdk(message) for message in [*program.commands, *program.endings]]
        order = program.commands[0].key()

    reserve, charge, _, confirmed = events
    assert len({event.get_id() for event in events}) == len(events)
    for event in events:
        assert event.get_specversion() == "1.0"
        assert event.get_source() == "/flows/food-order"
        assert event.get_datacontenttype() == "application/json"
        assert event.get_time() is not None
        assert event.get_extension("correlationid") == f"placed-{order.decode()}"
        assert event.get_extension("flowid") == f"food-order/{order.decode()}"
    assert reserve.get_data() == {"order_id": order.decode(), "items": [{"sku": "ramen", "quantity": 1}]}
    effect = f"food-order/{re.escape(order.decode())}/[0-9]+/reserve/action/0"
    assert re.fullmatch(effect, reserve.get_extension("effectid"))
    assert reserve.get_extension("expirytime") is not None
    assert charge.get_extension("flowstep") == "charge"
    assert confirmed.get_type() == CONFIRMED


async def test_the_rejection_of_a_plain_participant_is_compensated_in_reverse(kafka: Kafka) -> None:
    async with order_ends(kafka, NO_DRIVER) as program:
        [ending] = program.endings

    assert attribute(ending, "type") == REJECTED
    assert program.kinds() == [
        "inventory.items.reserve.v1",
        "payments.payment.charge.v1",
        "dispatch.driver.assign.v1",
        "payments.payment.refund.v1",
        "inventory.items.release.v1",
    ]
    undo = program.commands[-1]
    assert attribute(undo, "flowphase") == "undo"
    assert "ce_expirytime" not in dict(undo.headers() or [])
