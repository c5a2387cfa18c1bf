"""The outbox between a real PostgreSQL and a real Kafka, with its relay killed on the way, and inside a service."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from orchestra.events.cloudevents import decode
from orchestra.events.message import Event, Key
from orchestra.ids import new_id
from orchestra.outbox.outbox import Outbox
from orchestra.outbox.table import FAIL, create_tables, statements_for
from orchestra.service.ledger import create_tables as create_ledger_tables
from orchestra.settings import Settings
from orchestra.testing.plugin import Kafka
from orchestra.transport.kafka.transport import KafkaTransport
from orchestra.transport.port import Partition, TopicSpec
from tests.unit.outbox.rig import eventually

pytestmark = pytest.mark.kafka

TOPIC = f"outbox-{new_id()}"
PARTITIONS = 3


class Noted(Event, type="shop.noted.v1", topic=TOPIC):
    order_id: Key[str]
    n: int


@pytest.fixture
async def engine(postgres: str) -> AsyncIterator[AsyncEngine]:
    made = create_async_engine(postgres)
    await create_tables(made)
    yield made
    await made.dispose()


@pytest.fixture
async def transport(kafka: Kafka) -> AsyncIterator[KafkaTransport]:
    made = KafkaTransport(Settings(env="test", bootstrap_servers=kafka.bootstrap_servers))
    await made.start()
    await made.topics.create([TopicSpec(TOPIC, PARTITIONS)])
    yield made
    await made.topics.delete([TOPIC])
    await made.aclose()


@asynccontextmanager
async def relay(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.integration.relay_process", *arguments)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def left(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        counted = await connection.exec_driver_sql("SELECT count(*) FROM orchestra_outbox")
        return int(counted.scalar_one())


async def arrivals(transport: KafkaTransport) -> list[tuple[str, str, int]]:
    """Key, id and number of all that was stored, in order per partition."""
    found = []
    for number in range(PARTITIONS):
        partition = Partition(TOPIC, number)
        end = (await transport.topics.bounds([partition]))[partition].end
        reader = await transport.reader(partition)
        seen = 0
        while seen < end:
            for record in await reader.fetch(max_records=1000, timeout=1.0):
                event = decode(record.headers, record.value)
                found.append((event.value(Noted).order_id, event.id, event.value(Noted).n))
                seen = record.offset + 1
        await reader.aclose()
    return found


async def test_relay_killed_between_publish_and_mark_repeats_events_with_equal_ids_only(
    engine: AsyncEngine, transport: KafkaTransport, kafka: Kafka, postgres: str
) -> None:
    outbox = Outbox("/test")
    async with engine.begin() as connection:
        await outbox.add(connection, *(Noted(order_id=f"k{n % 7}", n=n) for n in range(1000)))

    async with relay(postgres, kafka.bootstrap_servers, "crash") as first:
        assert await asyncio.wait_for(first.wait(), 30) == -signal.SIGKILL
    assert await left(engine) == 1000, "stored by Kafka, and not marked"
    before = await arrivals(transport)
    assert len(before) > 0

    async with relay(postgres, kafka.bootstrap_servers):

        async def is_empty() -> bool:
            return await left(engine) == 0

        await eventually(is_empty, timeout=30)

    found = await arrivals(transport)
    assert len(found) == 1000 + len(before)
    assert len({event_id for _, event_id, _ in found}) == 1000
    for key in {key for key, _, _ in found}:
        numbers = list(dict.fromkeys(number for its, _, number in found if its == key))
        assert numbers == sorted(numbers), "first arrivals are in order"


async def test_relays_killed_again_and_again_lose_nothing_and_keep_the_order(
    engine: AsyncEngine, transport: KafkaTransport, kafka: Kafka, postgres: str
) -> None:
    outbox = Outbox("/test")
    is_writing = True

    async def write() -> None:
        for start in range(0, 6000, 20):
            async with engine.begin() as connection:
                await outbox.add(connection, *(Noted(order_id=f"k{n % 7}", n=n) for n in range(start, start + 20)))
            await asyncio.sleep(0.01)

    async def is_empty() -> bool:
        return not is_writing and await left(engine) == 0

    async with relay(postgres, kafka.bootstrap_servers), relay(postgres, kafka.bootstrap_servers):
        writing = asyncio.create_task(write())
        for pause in (1.1, 0.7, 1.3):
            async with relay(postgres, kafka.bootstrap_servers):
                await asyncio.sleep(pause)
                async with engine.begin() as connection:  # the one that sends loses its lease in the middle of it
                    await connection.execute(statements_for(engine).give_up, {"owner": await owner(engine)})
        await writing
        is_writing = False
        await eventually(is_empty, timeout=40)

    found = await arrivals(transport)
    assert {number for _, _, number in found} == set(range(6000))
    assert len({event_id for _, event_id, _ in found}) == 6000
    for key in {key for key, _, _ in found}:
        numbers = list(dict.fromkeys(number for its, _, number in found if its == key))
        assert numbers == sorted(numbers), "first arrivals are in order"


async def owner(engine: AsyncEngine) -> str | None:
    async with engine.connect() as connection:
        found = await connection.exec_driver_sql("SELECT owner FROM orchestra_outbox_relay")
        return found.scalar_one_or_none()


async def orchestra(*words: str, kafka: Kafka) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from orchestra.cli.main import app; app()",
        *words,
        env=os.environ | {"ORCHESTRA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    output = await process.stdout.read()
    return await process.wait(), output.decode()


async def test_commands_work_on_postgres(
    engine: AsyncEngine, transport: KafkaTransport, kafka: Kafka, postgres: str
) -> None:
    async with engine.begin() as connection:
        await Outbox("/test").add(connection, Noted(order_id="k", n=1))
        await connection.execute(FAIL, {"id": 1, "failed_ms": 1, "error": "no"})
    code, output = await orchestra("outbox", "list", postgres, "--state", "failed", "--json", kafka=kafka)
    assert (code, json.loads(output)[0]["error"]) == (0, "no")
    assert await orchestra("outbox", "retry", postgres, "--all", kafka=kafka) == (0, "1 to be sent again\n")

    assert await orchestra_until_empty(engine, kafka, postgres) == 0

    assert [number for _, _, number in await arrivals(transport)] == [1]
    await create_ledger_tables(engine)
    assert await orchestra("ledger", "list", postgres, kafka=kafka) == (0, "no such entries\n")


async def orchestra_until_empty(engine: AsyncEngine, kafka: Kafka, postgres: str) -> int:
    """``orchestra outbox relay``, told to stop when nothing is left to send."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from orchestra.cli.main import app; app()",
        "outbox",
        "relay",
        postgres,
        env=os.environ | {"ORCHESTRA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers},
    )

    async def is_empty() -> bool:
        return await left(engine) == 0

    await eventually(is_empty, timeout=30)
    process.terminate()
    return await asyncio.wait_for(process.wait(), 15)
