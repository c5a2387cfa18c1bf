"""Does an upgrade on a real Kafka, with processes that are ended and killed, leave every instance where it belongs?"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestra.bus.bus import connect
from orchestra.cli.main import app
from orchestra.settings import Settings
from orchestra.testing.plugin import Kafka
from tests.unit.flows.shop import Item, OrderPlaced

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]
ROOT = Path(__file__).parents[2]
ORCHESTRA = str(Path(sys.executable).with_name("orchestra"))
APP = "tests.integration.versions_app"


class Site:
    """Processes of one namespace, an operator, and a shop at which orders keep coming."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.environment = {
            "ORCHESTRA_BOOTSTRAP_SERVERS": bootstrap_servers,
            "ORCHESTRA_NAMESPACE": f"t-versions-{os.urandom(3).hex()}",
            "ORCHESTRA_SESSION_TIMEOUT": "6",
            "ORCHESTRA_HEARTBEAT_INTERVAL": "1",
        }
        self.processes: list[subprocess.Popen[bytes]] = []
        self.placed = 0

    def starts(self, name: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([ORCHESTRA, "run", f"{APP}:{name}"], cwd=ROOT, env=os.environ | self.environment)
        self.processes.append(process)
        return process

    def ends(self, process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGTERM) -> None:
        process.send_signal(how)
        assert process.wait(40) == (0 if how is signal.SIGTERM else -how)

    def reads(self, *words: str) -> str:
        result = CliRunner().invoke(app, list(words), env=self.environment)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    def versions(self) -> dict[int, Counter[str]]:
        """Instances by version and status."""
        rows: list[dict[str, Any]] = json.loads(self.reads("flows", "list", f"{APP}:both", "--json"))
        return {row["version"]: Counter(row["instances"]) for row in rows}

    def orders(self, count: int, seconds: float) -> None:
        asyncio.run(self._orders(count, seconds))

    async def _orders(self, count: int, seconds: float) -> None:
        settings = Settings.from_environment(self.environment)
        async with connect(settings) as bus:
            for _ in range(count):
                self.placed += 1
                items = [Item(sku="ramen", quantity=1)]
                await bus.publish(OrderPlaced(order_id=str(self.placed), items=items, total_cents=100))
                await asyncio.sleep(seconds / count)

    def until(self, what: str, is_so: Any, seconds: float = 60.0) -> dict[int, Counter[str]]:
        deadline = time.monotonic() + seconds
        while not is_so(found := self.versions()):
            assert time.monotonic() < deadline, f"{what}: {found}"
            time.sleep(0.5)
        return found

    def all_ended(self, found: dict[int, Counter[str]]) -> bool:
        return sum(counts["completed"] + counts["compensated"] for counts in found.values()) == self.placed


@contextmanager
def site(kafka: Kafka) -> Iterator[Site]:
    made = Site(kafka.bootstrap_servers)
    for name in ("services", "both"):
        made.reads("topics", "create", f"{APP}:{name}")
    try:
        yield made
    finally:
        for process in made.processes:
            process.kill()
            process.wait()


def test_forward_back_and_forward_again_while_orders_come(kafka: Kafka) -> None:
    with site(kafka) as s:
        s.starts("services")
        first, second = s.starts("old"), s.starts("old")
        s.orders(60, 6.0)

        s.ends(first)
        first = s.starts("both")
        s.orders(30, 3.0)
        s.ends(second, signal.SIGKILL)
        second = s.starts("both")
        s.orders(60, 6.0)
        s.until("version 2 runs", lambda found: 2 in found)

        s.ends(first)
        s.ends(second)
        first = s.starts("old")
        s.orders(30, 3.0)
        waiting = s.until("what is of version 2 waits", lambda found: found[2]["parked"] > 0)
        assert "instances wait for food-order version 2" in s.reads("flows", "list", f"{APP}:old")

        s.ends(first)
        s.starts("both")
        ended = s.until("all have ended", s.all_ended, 90.0)

        assert ended[1].total() + ended[2].total() == 180
        assert min(ended[1].total(), ended[2].total()) >= 30
        assert ended[1]["compensated"] + ended[2]["compensated"] == 18
        assert waiting[2]["parked"] <= ended[2].total()
        assert _decided_as_they_were(s, 1, "tests.unit.flows.shop:FoodOrder") == ended[1].total()
        assert _decided_as_they_were(s, 2, "tests.unit.flows.shop_versions:FoodOrderV2") == ended[2].total()
        assert _mails(s) == {f"food-order/{number}" for number in _ended(s, 2, "completed")}


def test_running_instances_follow_and_an_altered_version_is_refused(kafka: Kafka) -> None:
    with site(kafka) as s:
        s.starts("services")
        first = s.starts("old")
        s.orders(40, 4.0)

        s.ends(first, signal.SIGKILL)
        s.starts("following")
        s.orders(20, 2.0)
        ended = s.until("all have ended", s.all_ended, 90.0)

        entries = [json.loads(line) for line in s.reads("instances", "history", f"{APP}:both").splitlines()]
        migrated = {one["instance"] for one in entries if "flow.migrated" in [line["what"] for line in one["lines"]]}
        last = {one["instance"]: one["flow_version"] for one in entries}
        assert migrated
        assert {last[one] for one in migrated} == {2}
        assert ended[1].total() + ended[2].total() == 60
        command = [ORCHESTRA, "run", f"{APP}:altered"]
        refused = subprocess.run(
            command, cwd=ROOT, env=os.environ | s.environment, capture_output=True, timeout=60, text=True, check=False
        )
        assert refused.returncode == 2
        assert "food-order version 1 has another graph" in refused.stderr
        assert "~ assign: needs nothing (before: charge)" in refused.stderr


def _decided_as_they_were(s: Site, version: int, flow: str) -> int:
    """How many histories of a version, whatever befell them, come out the same when they are run once more."""
    lines = s.reads("instances", "history", f"{APP}:both").splitlines()
    last = {(entry := json.loads(line))["instance"]: entry["flow_version"] for line in lines}
    wanted = [line for line in lines if last[json.loads(line)["instance"]] == version]
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write("\n".join(wanted))
        file.flush()
        found = json.loads(s.reads("check", flow, "--histories", file.name, "--json"))
    assert not [one for one in found if one["divergence"] or one["skipped"]]
    return len(found)


def _mails(s: Site) -> set[str]:
    """The instances for which a mail was sent."""
    lines = s.reads("instances", "history", f"{APP}:both").splitlines()
    entries = (json.loads(line) for line in lines)
    return {one["instance"] for one in entries if any(sent["type"] == "shop.mail.send.v1" for sent in one["sent"])}


def _ended(s: Site, version: int, status: str) -> set[str]:
    found = json.loads(s.reads("instances", "list", f"{APP}:both", "--json"))
    wanted = (f"food-order/{version}", status)
    return {one["id"].partition("/")[2] for one in found if (one["flow"], one["status"]) == wanted}
