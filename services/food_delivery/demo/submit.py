"""How does a shop's web front submit orders? With a plain producer that knows CloudEvents and nothing of orchestra."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaProducer

from services.demo_kit.pace import at_pace

TOPIC = "shop.orders"
PLACED = "shop.order.placed.v1"
STRUCTURED = [("content-type", b"application/cloudevents+json")]

Headers = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Submission:
    """One line of the file, ready to be sent. ``order_id`` is None where the line is no readable event."""

    order_id: str | None
    kind: str | None
    total_cents: int
    key: bytes | None
    value: bytes
    headers: Headers


def read_submission(line: str, number: int) -> Submission:
    """Every other event goes out in binary mode; a line that is no JSON goes out as it is."""
    try:
        event = json.loads(line)
    except ValueError:
        return Submission(None, None, 0, None, line.encode(), STRUCTURED)
    event["time"] = datetime.now(UTC).isoformat()
    data: dict[str, Any] = event["data"]
    order_id = data["order_id"]
    headers, value = binary(event) if number % 2 else (STRUCTURED, json.dumps(event).encode())
    return Submission(order_id, event["type"], data.get("total_cents", 0), order_id.encode(), value, headers)


def binary(event: dict[str, Any]) -> tuple[Headers, bytes]:
    attributes = {name: value for name, value in event.items() if name not in ("data", "datacontenttype")}
    headers = [(f"ce_{name}", str(value).encode()) for name, value in attributes.items()]
    return [*headers, ("content-type", event["datacontenttype"].encode())], json.dumps(event["data"]).encode()


async def submit(
    bootstrap_servers: str, lines: Sequence[str], per_second: float, note: Callable[[Submission], None]
) -> None:
    """Send every line at an even pace; ``note`` is called just before each is sent."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        number = 0
        async for line in at_pace(lines, per_second):
            submission = read_submission(line, number)
            number += 1
            note(submission)
            await producer.send_and_wait(TOPIC, submission.value, key=submission.key, headers=submission.headers)
    finally:
        await producer.stop()
