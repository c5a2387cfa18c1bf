"""A coordinator as a process of its own: ``python -m tests.integration.coordinator_process <bootstrap> <namespace>``.

It prints a line of JSON with its statistics whenever they change, so that a test knows when it owns what.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys

from orchestra.coordinator.coordinator import Coordinator
from orchestra.coordinator.runtime import CoordinatorRuntime
from orchestra.settings import Settings
from orchestra.transport.kafka.transport import KafkaTransport
from tests.unit.coordinator.tiny_flow import TinyFlow

PARTITIONS = 2


def settings_for(bootstrap_servers: str, namespace: str) -> Settings:
    return Settings(
        bootstrap_servers=bootstrap_servers,
        namespace=namespace,
        env="test",
        partitions=PARTITIONS,
        session_timeout=6.0,
        heartbeat_interval=1.0,
        rebalance_timeout=15.0,
        drain_timeout=5.0,
    )


def tiny_coordinator() -> Coordinator:
    return Coordinator("t", flows=[TinyFlow(timeout=3600.0)], partitions=PARTITIONS)


async def main(bootstrap_servers: str, namespace: str) -> None:
    settings = settings_for(bootstrap_servers, namespace)
    transport = KafkaTransport(settings)
    await transport.start()
    runtime = CoordinatorRuntime(tiny_coordinator(), transport, settings)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, runtime.stop)
    await runtime.start()
    telling = asyncio.create_task(tell(runtime))
    await runtime.run()
    telling.cancel()
    await transport.aclose()


async def tell(runtime: CoordinatorRuntime) -> None:
    last = ""
    while True:
        if (now := json.dumps(runtime.statistics())) != last:
            last = now
            print(now, flush=True)
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    asyncio.run(main(sys.argv[1], sys.argv[2]))
