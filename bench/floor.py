"""The least that a three-step saga can cost: nine hops, four appends. Roles are processes: ``python -m bench.floor``.

started -> router -> inbox -> coordinator: append, command -> participant -> inbox (three times) ... append, finished.
"""

from __future__ import annotations

import asyncio
import json
import sys

from aiokafka import AIOKafkaProducer

from bench.plain import producer, reader

TOPICS = ("floor-started", "floor-inbox", "floor-state", "floor-commands", "floor-finished")
STEPS = 3


async def route(servers: str, out: AIOKafkaProducer) -> None:
    async with reader(servers, "floor-started", start="earliest") as consumer:
        async for record in consumer:
            await out.send_and_wait("floor-inbox", record.value, key=record.key)


async def coordinate(servers: str, out: AIOKafkaProducer) -> None:
    async with reader(servers, "floor-inbox", start="earliest") as consumer:
        async for record in consumer:
            step = json.loads(record.value)["n"]
            await out.send_and_wait("floor-state", record.value, key=record.key)
            if step <= STEPS:
                await out.send("floor-commands", record.value, key=record.key)
            else:
                await out.send("floor-finished", record.value, key=record.key)


async def participate(servers: str, out: AIOKafkaProducer) -> None:
    async with reader(servers, "floor-commands", start="earliest") as consumer:
        async for record in consumer:
            reply = json.dumps({"n": json.loads(record.value)["n"] + 1}).encode()
            await out.send("floor-inbox", reply, key=record.key)


async def main(role: str, servers: str) -> None:
    async with producer(servers) as out, asyncio.TaskGroup() as tasks:
        if role == "coordinator":
            tasks.create_task(route(servers, out))
            tasks.create_task(coordinate(servers, out))
        else:
            tasks.create_task(participate(servers, out))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
