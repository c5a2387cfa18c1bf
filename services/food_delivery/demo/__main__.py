"""``make demo``: a few hundred food orders on a real Kafka, with processes killed on the way, reconciled at the end.

Environment: ``DEMO_SEED`` (who is killed, and when; default 1), ``DEMO_KILLS`` (how many; default 2), ``DEMO_RATE``
(records a second; default 20), ``DEMO_KEEP=1`` (leave Kafka running). Exits 0 when everything reconciles, 1 when not.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import sys
import time
import zlib
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape

from orchestra import OrchestraError
from orchestra.testing.kafka_cluster import KafkaCluster
from orchestra.testing.kafka_state import named_directory
from services.food_delivery.demo import reconcile
from services.food_delivery.demo.processes import APP, Crew, Member
from services.food_delivery.demo.submit import submit
from services.food_delivery.demo.watch import Progress, table, watch

FOLDER = Path(".demo")
ORDERS = Path(__file__).parent.parent / "orders.jsonl"
CLUSTER = f"demo-{zlib.crc32(bytes(Path.cwd())):08x}"  # one for each checkout: two demos do not meet
ALL_ENDED_WITHIN = 120.0
SETTLED_WITHIN = 60.0
console = Console()


def main() -> int:
    try:
        return asyncio.run(demo())
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("\n[yellow]stopped; nothing is left running[/]")
        return 130
    except OrchestraError as error:  # no Kafka to be had, most likely: its text says what to do
        console.print(f"[red]{escape(str(error))}[/]")
        return 1


async def demo() -> int:
    begun = time.monotonic()
    stop_on_signals()
    seed = int(os.environ.get("DEMO_SEED", "1"))
    rate = float(os.environ.get("DEMO_RATE", "20"))
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "logs").mkdir(parents=True)
    lines = ORDERS.read_text().splitlines()
    console.print(f"[bold]orchestra demo[/]: {len(lines)} records, four services, two coordinators, seed {seed}\n")
    async with kafka() as servers:
        environment = environment_for(servers)
        say("creating the topics")
        await orchestra_command(environment, "topics", "create", f"{APP}:app")
        progress = Progress()
        async with Crew(FOLDER / "logs", environment) as crew:
            say("four services and two coordinators are starting, each a process of its own")
            await ready(servers, crew)
            say(f"submitting {rate:.0f} records a second; processes will be killed with -9 on the way\n")
            await run_orders(servers, lines, rate, crew, progress, random.Random(seed))
            findings = await reconcile.settle(
                lambda: reconcile.reconcile(reconcile.Books(FOLDER / "data"), progress), SETTLED_WITHIN
            )
            waiting = await instances_waiting(environment)
            letters = await reconcile.dead_letters(servers)
            sizes = {member.name: member.resident_mb() for member in crew.members}
        findings += [
            reconcile.Finding("instances left waiting", 0, waiting),
            reconcile.malformed(letters),
        ]
        report(findings, letters, progress, crew, sizes, time.monotonic() - begun, servers)
    return 0 if all(finding.holds for finding in findings) else 1


def stop_on_signals() -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


def say(text: str) -> None:
    console.print(f"[dim]·[/] {text}")


@asynccontextmanager
async def kafka() -> AsyncGenerator[str]:
    """A broker of the demo's own, or the one that ``ORCHESTRA_BOOTSTRAP_SERVERS`` names."""
    if given := os.environ.get("ORCHESTRA_BOOTSTRAP_SERVERS"):
        say(f"using the Kafka at {given}")
        yield given
        return
    say("starting Apache Kafka")
    directory = named_directory(CLUSTER)
    if (old := KafkaCluster.find(directory)) is not None:
        await asyncio.to_thread(old.stop)
    keep = bool(os.environ.get("DEMO_KEEP"))
    cluster = await asyncio.to_thread(
        lambda: KafkaCluster.start(directory, name=CLUSTER, guarded=not keep, console=console)
    )
    try:
        yield cluster.bootstrap_servers
    finally:
        if not keep:
            await asyncio.to_thread(cluster.stop)


def environment_for(servers: str) -> dict[str, str]:
    return os.environ | {
        "ORCHESTRA_BOOTSTRAP_SERVERS": servers,
        "ORCHESTRA_SESSION_TIMEOUT": "6",
        "ORCHESTRA_HEARTBEAT_INTERVAL": "1",
        "FOOD_DELIVERY_DATA": str(FOLDER / "data"),
        "PYTHONUNBUFFERED": "1",
    }


async def orchestra_command(environment: dict[str, str], *arguments: str) -> str:
    """What ``orchestra ...`` prints. Raises SystemExit with its error when it fails."""
    program = str(Path(sys.executable).with_name("orchestra"))
    process = await asyncio.create_subprocess_exec(
        program, *arguments, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    if process.returncode:
        raise SystemExit(f"orchestra {' '.join(arguments)} failed:\n{errors.decode()}")
    return output.decode()


async def ready(servers: str, crew: Crew) -> None:
    """Return when every group has its members and their partitions."""
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.errors import KafkaError

    groups = [member.target for member in crew.services] + ["food", "food.router"]
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        for _ in range(300):
            states: list[str] = []
            with suppress(KafkaError):  # a new broker does not know at once who coordinates a group
                for name in groups:  # one at a time: aiokafka 0.14 reads the answer for several wrongly
                    described: Any
                    [described] = await admin.describe_consumer_groups([name])
                    states += [group[2] for group in described.groups]
            if len(states) == len(groups) and all(state == "Stable" for state in states):
                return
            await asyncio.sleep(0.2)
        raise SystemExit("the services did not join their groups within 60 s; see .demo/logs")
    finally:
        await admin.close()


async def run_orders(
    servers: str, lines: list[str], rate: float, crew: Crew, progress: Progress, chance: random.Random
) -> None:
    """Submit everything, kill processes on the way, and return when every order has ended."""
    watching = asyncio.create_task(watch(servers, progress))
    submitting = asyncio.create_task(submit(servers, lines, rate, progress.submitted))
    kills = deque(kill_points(len(lines), int(os.environ.get("DEMO_KILLS", "2")), chance))
    deadline = time.monotonic() + len(lines) / rate + ALL_ENDED_WITHIN
    try:
        with Live(table(progress, crew, len(lines)), console=console, refresh_per_second=4) as live:
            while not (submitting.done() and progress.running == 0) and time.monotonic() < deadline:
                live.update(table(progress, crew, len(lines)))
                if kills and progress.records >= kills[0]:
                    kills.popleft()
                    live.console.print(kill_one(crew, chance))
                for task in (watching, submitting):
                    if task.done():
                        task.result()
                await asyncio.sleep(0.1)
            live.update(table(progress, crew, len(lines)))
    finally:
        for task in (submitting, watching):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def kill_points(records: int, kills: int, chance: random.Random) -> list[int]:
    """After how many submitted records a process is killed: at a random moment of equal stretches of the middle."""
    first, stretch = records // 5, records * 3 // 5 // max(kills, 1)
    return [first + stretch * number + chance.randrange(max(stretch // 2, 1)) for number in range(kills)]


def kill_one(crew: Crew, chance: random.Random) -> str:
    """The busiest coordinator first, then whoever chance chooses. Says who."""
    if not crew.killed:
        chosen, why = max(crew.coordinators, key=Member.cpu_seconds), "the busiest coordinator"
    else:
        chosen, why = chance.choice([member for member in crew.members if member.is_running]), "chosen by the seed"
    crew.kill(chosen)
    return f"[red]kill -9[/] {chosen.name}, {why}"


async def instances_waiting(environment: dict[str, str]) -> int:
    listed = json.loads(await orchestra_command(environment, "instances", "list", f"{APP}:food", "--live", "--json"))
    return len(listed)


def report(
    findings: list[reconcile.Finding],
    letters: list[tuple[str, str, str]],
    progress: Progress,
    crew: Crew,
    sizes: dict[str, float],
    took: float,
    servers: str,
) -> None:
    console.print()
    console.print(reconcile.table(findings))
    for topic, reason, message in letters:
        console.print(f"dead letter in {topic}: {reason}: {message}", markup=False)
    latencies = progress.latencies()
    if latencies:
        p50, p99 = (latencies[int(len(latencies) * part)] * 1000 for part in (0.5, 0.99))
        console.print(
            f"\n{len(progress.endings)} orders: {progress.count('confirmed')} confirmed, {progress.count('rejected')} "
            f"rejected, in {took:.0f} s in all; confirmed after p50 {p50:.0f} ms, p99 {p99:.0f} ms (kills included)"
        )
    console.print(
        f"killed with -9: {', '.join(name for _, name in crew.killed)}; largest process {max(sizes.values()):.0f} MB"
    )
    if all(finding.holds for finding in findings):
        console.print("[bold green]every cent and every item is accounted for[/]")
    else:
        console.print("[bold red]something does not add up: see the mismatches above, and .demo/logs[/]")
    look_next(servers)


def look_next(servers: str) -> None:
    console.print(
        "\nwhere to look next: services/food_delivery/flow.py (the saga), .demo/logs (each process's log), "
        ".demo/data (the databases)"
    )
    if os.environ.get("DEMO_KEEP"):
        console.print(
            f"Kafka is still running: ORCHESTRA_BOOTSTRAP_SERVERS={servers} orchestra instances list {APP}:food"
        )
        console.print(f"end it with: orchestra kafka down --name {CLUSTER}")
    else:
        console.print("make demo DEMO_KEEP=1 leaves Kafka running, to look at instances with: orchestra instances list")


if __name__ == "__main__":
    sys.exit(main())
