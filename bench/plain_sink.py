"""The consumer that one would write by hand, to compare with: ``python -m bench.plain_sink SERVERS TOPIC GROUP``."""

from __future__ import annotations

import asyncio
import json
import sys
import time

from aiokafka import AIOKafkaConsumer

COMMIT_EVERY = 1.0


async def main(servers: str, topic: str, group: str) -> None:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=servers, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    committed = time.monotonic()
    while True:
        for records in (await consumer.getmany(timeout_ms=500, max_records=500)).values():
            for record in records:
                json.loads(record.value)
        if time.monotonic() - committed > COMMIT_EVERY:
            committed = time.monotonic()
            await consumer.commit()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
