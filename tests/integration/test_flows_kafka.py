"""Running flows on a real Kafka: programs that run, cancel, signal and query them, flows that call flows, people who
decide from the command line."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from orchestra import (
    Bus,
    FlowRefusedError,
    FlowTimeoutError,
    InstanceUnknownError,
    Settings,
    connect,
)
from orchestra.cli.main import app as cli
from orchestra.coordinator.instances import find_instance, list_instances
from orchestra.coordinator.names import Names
from orchestra.testing.plugin import Kafka
from orchestra.transport.kafka.transport import KafkaTransport
from tests.integration.desk_app import app, desk
from tests.integration.running import running
from tests.unit.bus.meal import Collected, Meal, Placed, Served, Sorry
from tests.unit.coordinator.family import Ordered
from tests.unit.coordinator.loan import Asked

pytestmark = [pytest.mark.kafka, pytest.mark.asyncio(loop_scope="module")]
ROOT = Path(__file__).parents[2]
TARGET = "tests.integration.desk_app:app"


class Desk:
    """The running app, a bus, and a command line."""

    def __init__(self, bus: Bus, transport: KafkaTransport, settings: Settings) -> None:
        self.bus = bus
        self.transport = transport
        self.settings = settings

    async def status(self, instance: str) -> str:
        found = await find_instance(self.transport, Names.of("desk", self.settings), desk.flows, instance)
        return found.summary.status if found is not None else ""

    async def until(self, instance: str, status: str) -> None:
        async with asyncio.timeout(30):
            while await self.status(instance) != status:
                await asyncio.sleep(0.1)

    async def types(self, *words: str) -> Any:
        """A command, in a thread: it has a loop of its own."""
        environment = {
            "ORCHESTRA_BOOTSTRAP_SERVERS": self.settings.bootstrap_servers,
            "ORCHESTRA_NAMESPACE": self.settings.namespace,
        }
        return await asyncio.to_thread(CliRunner().invoke, cli, list(words), env=environment)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(kafka: Kafka) -> AsyncIterator[Desk]:
    settings = Settings(bootstrap_servers=kafka.bootstrap_servers, namespace=f"desk-{os.urandom(3).hex()}")
    transport = KafkaTransport(settings)
    await transport.start()
    try:
        async with running(settings, app), connect(settings, name="web", coordinators=[desk]) as bus:
            yield Desk(bus, transport, settings)
    finally:
        await transport.aclose()


async def test_a_run_gives_the_end_event_that_a_signal_brings_about(here: Desk) -> None:
    with pytest.raises(FlowTimeoutError, match="instance meal/m1 was not over"):
        await here.bus.run(Meal, Placed(order_id="m1"), timeout="3s")
    await here.bus.signal(Meal, "m1", Collected(order_id="m1", by="ann"))

    end = await here.bus.run(Meal, Placed(order_id="m1"), timeout="30s", yields=Served)
    again = await here.bus.run(Meal, Placed(order_id="m1"), timeout="30s")

    assert end == again == Served(order_id="m1", to="ann")


async def test_an_event_on_its_topic_may_come_before_the_start(here: Desk) -> None:
    await here.bus.publish(Collected(order_id="m2", by="early bird"))
    await here.until("meal/m2", "early")

    assert (await here.bus.run(Meal, Placed(order_id="m2"), timeout="30s", yields=Served)).to == "early bird"


async def test_a_query_reads_the_newest_record_and_a_cancel_is_answered(here: Desk) -> None:
    async with asyncio.TaskGroup() as group:
        run = group.create_task(here.bus.run(Meal, Placed(order_id="m3", dishes=3), timeout="30s"))
        await here.until("meal/m3", "running")
        async with asyncio.timeout(20):
            while await here.bus.query(Meal.progress, "m3") != "3 dishes, 7 minutes":
                await asyncio.sleep(0.1)

        await here.bus.cancel(Meal, "m3", reason="the guest has left", by="ann")

        assert await run == Sorry(order_id="m3", reason="cancelled by ann: the guest has left")
    assert await here.bus.query(Meal.progress, "m3") == "over: compensated"
    with pytest.raises(FlowRefusedError, match="the instance is compensated"):
        await here.bus.cancel(Meal, "m3", reason="again", by="ann")
    with pytest.raises(InstanceUnknownError):
        await here.bus.query(Meal.progress, "nobody")


async def test_a_caller_that_fails_has_its_child_undone(here: Desk) -> None:
    await here.bus.publish(Ordered(key="f1"))

    await here.until("strict/f1", "compensated")

    assert await here.status("parcel/f1") == "compensated"


async def test_people_decide_from_the_command_line(here: Desk) -> None:
    await here.bus.publish(Asked(loan_id="l1", cents=500, clerk="bob"))
    await here.until("loan/l1", "running")

    listed = await here.types("approvals", "list", TARGET, "--json")
    [one] = [each for each in json.loads(listed.stdout) if each["instance"] == "loan/l1"]
    assert (one["step"], one["roles"]) == ("agreed", ["credit-officer"])
    assert '"cents":500' in one["about"]
    table = await here.types("approvals", "list", TARGET, "--role", "credit-officer")
    assert "loan/l1" in table.stdout

    words = ("--reason", "the papers are here", "--role")
    wrong = await here.types("approvals", "approve", TARGET, "loan/l1", *words, "janitor", "--by", "ann")
    asked = await here.types("approvals", "approve", TARGET, "loan/l1", *words, "credit-officer", "--by", "bob")
    first = await here.types("approvals", "approve", TARGET, "loan/l1", *words, "credit-officer", "--by", "ann")
    second = await here.types("approvals", "reject", TARGET, "loan/l1", *words, "credit-officer", "--by", "eve")
    never = await here.types("approvals", "approve", TARGET, "loan/l9", *words, "credit-officer")

    assert (wrong.exit_code, "ann is not known as credit-officer" in wrong.stdout) == (1, True)
    assert (asked.exit_code, "bob asked for it, and does not decide" in asked.stdout) == (1, True)
    assert (first.exit_code, "approve: done; the instance is completed" in first.stdout) == (0, True)
    assert (second.exit_code, "agreed was decided already, by ann: the papers are here" in second.stdout) == (1, True)
    assert (never.exit_code, "there is no instance 'loan/l9'" in never.stderr) == (1, True)
    history = await here.types("instances", "show", TARGET, "loan/l1")
    assert "by ann: the papers are here" in history.stdout
    empty = await here.types("approvals", "list", TARGET)
    assert "loan/l1" not in empty.stdout


async def test_flows_that_call_flows_survive_the_kill_of_a_process(kafka: Kafka) -> None:
    settings = Settings(bootstrap_servers=kafka.bootstrap_servers, namespace=f"desk-{os.urandom(3).hex()}")
    environment = os.environ | {
        "ORCHESTRA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "ORCHESTRA_NAMESPACE": settings.namespace,
        "ORCHESTRA_SESSION_TIMEOUT": "6",
        "ORCHESTRA_HEARTBEAT_INTERVAL": "1",
    }
    transport = KafkaTransport(settings)
    await transport.start()
    assert await (await process(environment, "topics", "create")).wait() == 0
    processes = [await process(environment) for _ in range(2)]
    try:
        async with connect(settings, transport=transport) as bus:
            for number in range(30):
                await bus.publish(Ordered(key=f"k{number}"))
                if number == 15:
                    await begun(transport, settings)
                    processes[0].kill()
        async with asyncio.timeout(90):
            while (found := await statuses(transport, settings)) != {"compensated": 60}:
                await asyncio.sleep(0.5)
    finally:
        for each in processes:
            if each.returncode is None:
                each.kill()
            await each.wait()
        await transport.aclose()
    assert found == {"compensated": 60}  # 30 callers, and the child of each


async def process(environment: dict[str, str], *words: str) -> asyncio.subprocess.Process:
    orchestra = str(Path(sys.executable).with_name("orchestra"))
    return await asyncio.create_subprocess_exec(orchestra, *(words or ("run",)), TARGET, cwd=ROOT, env=environment)


async def begun(transport: KafkaTransport, settings: Settings) -> None:
    """Some are under way."""
    async with asyncio.timeout(60):
        while not await statuses(transport, settings):
            await asyncio.sleep(0.1)


async def statuses(transport: KafkaTransport, settings: Settings) -> dict[str, int]:
    return Counter(one.status for one in await list_instances(transport, Names.of("desk", settings)))
