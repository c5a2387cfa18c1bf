"""Ledger and outbox together, in processes that are killed: every effect once, every event out, in order."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from orchestra.bus.bus import connect
from orchestra.events.cloudevents import decode
from orchestra.ids import new_id
from orchestra.outbox.table import create_tables as create_outbox_tables
from orchestra.service.ledger import create_tables as create_ledger_tables
from orchestra.settings import Settings
from orchestra.testing.plugin import Kafka
from orchestra.transport.kafka.transport import KafkaTransport
from orchestra.transport.port import Partition, TopicSpec
from tests.unit.outbox.rig import eventually

pytestmark = pytest.mark.kafka

ACCOUNTS, EVENTS = 5, 1200


@pytest.mark.timeout(180)
async def test_service_killed_again_and_again_does_each_effect_once_and_tells_of_each_in_order(
    kafka: Kafka, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"outbox-{new_id()}"
    monkeypatch.setenv("OUTBOX_TEST_NAME", name)
    from tests.integration.outbox_service import Asked, Counted

    engine = create_async_engine(postgres)
    await create_ledger_tables(engine)
    await create_outbox_tables(engine)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE account (name TEXT PRIMARY KEY, total INTEGER NOT NULL)"))
        await connection.execute(
            text("INSERT INTO account VALUES (:name, 0)"), [{"name": f"a{n}"} for n in range(ACCOUNTS)]
        )
    settings = Settings(env="test", bootstrap_servers=kafka.bootstrap_servers)
    transport = KafkaTransport(settings)
    await transport.start()
    topics = [f"{name}.asked", f"{name}.counted"]
    await transport.topics.create([TopicSpec(topic, 3) for topic in topics])
    async with connect(settings) as bus:
        await bus.publish(*(Asked(account=f"a{n % ACCOUNTS}", n=n) for n in range(EVENTS)))

    async def totals() -> list[int]:
        async with engine.connect() as connection:
            found = await connection.execute(text("SELECT total FROM account"))
            return list(found.scalars())

    async with AsyncExitStack() as processes:
        running = [await started(processes, kafka, postgres) for _ in range(2)]
        for share in (0.1, 0.3, 0.5):
            await eventually(lambda share=share: _reached(totals(), share), timeout=60)
            running[0].kill()
            await running.pop(0).wait()
            running.append(await started(processes, kafka, postgres))
        await eventually(lambda: _reached(totals(), 1.0), timeout=90)

        async def is_empty() -> bool:
            async with engine.connect() as connection:
                return (await connection.execute(text("SELECT count(*) FROM orchestra_outbox"))).scalar_one() == 0

        await eventually(is_empty, timeout=30)

    assert await totals() == [EVENTS // ACCOUNTS] * ACCOUNTS
    told: dict[str, dict[str, int]] = {}  # account -> event id -> total, in the order of first arrivals
    for number in range(3):
        partition = Partition(topics[1], number)
        end = (await transport.topics.bounds([partition]))[partition].end
        reader = await transport.reader(partition)
        seen = 0
        while seen < end:
            for record in await reader.fetch(max_records=1000, timeout=1.0):
                event = decode(record.headers, record.value)
                counted = event.value(Counted)
                told.setdefault(counted.account, {}).setdefault(event.id, counted.total)
                seen = record.offset + 1
        await reader.aclose()
    assert {account: list(totals.values()) for account, totals in told.items()} == {
        f"a{n}": list(range(1, EVENTS // ACCOUNTS + 1)) for n in range(ACCOUNTS)
    }
    await transport.topics.delete(topics)
    await transport.aclose()
    await engine.dispose()


async def _reached(totals: object, share: float) -> bool:
    return sum(await totals) >= share * EVENTS  # type: ignore[misc]


async def started(stack: AsyncExitStack, kafka: Kafka, database: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from orchestra.cli.main import app; app()",
        "run",
        "tests.integration.outbox_service:service",
        env=os.environ
        | {
            "ORCHESTRA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "ORCHESTRA_SESSION_TIMEOUT": "6",
            "ORCHESTRA_HEARTBEAT_INTERVAL": "0.5",
            "OUTBOX_TEST_DATABASE": database,
        },
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def end() -> None:
        if process.returncode is None:
            process.kill()
        await process.wait()

    stack.push_async_callback(end)
    return process
