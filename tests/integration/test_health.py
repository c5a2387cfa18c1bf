"""What do the health endpoints of real processes say while they are busy, waiting, blocked, or without brokers?"""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestra.testing.kafka_cluster import KafkaCluster
from orchestra.testing.plugin import Kafka
from tests.integration.moody import Act
from tests.integration.moody_events import MOODY, READY, moody_environment, publish, wait_begun
from tests.integration.run_process import Process, running

pytestmark = pytest.mark.kafka


class Probe:
    """Asks a process's endpoints. They answer within a second; a machine that is shared may take longer."""

    def __init__(self, process: Process) -> None:
        self._process = process
        process.wait_until(lambda: self._port() is not None, "tell its health port")

    def _port(self) -> int | None:
        told = [message for message in self._process.messages() if message.startswith("health: http://127.0.0.1:")]
        return int(told[0].split(":")[3].split("/")[0]) if told else None

    def ask(self, path: str) -> tuple[int, Any]:
        port = self._port()
        assert port is not None
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3.0)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def wait(self, path: str, is_true: Callable[[int, Any], bool], seconds: float = 30.0) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            status, body = self.ask(path)
            if is_true(status, body):
                return body
            assert time.monotonic() < deadline, f"{path} still says {status} {body}"
            time.sleep(0.2)

    def rows(self) -> list[dict[str, Any]]:
        return [row for group in self.ask("/lag")[1]["groups"] for row in group["partitions"]]


@pytest.fixture
def environment(kafka: Kafka, tmp_path: Path) -> dict[str, str]:
    return moody_environment(kafka.bootstrap_servers, tmp_path) | {"ORCHESTRA_HEALTH": "0"}


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[KafkaCluster]:
    """A broker that a test may suspend."""
    cluster = KafkaCluster.start(tmp_path / "kafka", guarded=True)
    try:
        yield cluster
    finally:
        cluster.stop()


def test_an_idle_process_is_alive_ready_and_without_lag(environment: dict[str, str], tmp_path: Path) -> None:
    with running([MOODY], environment, tmp_path / "log") as process:
        probe = Probe(process)
        probe.wait("/ready", lambda status, _: status == 200)
        publish(environment, [Act(name=f"a{i}", mood="quick") for i in range(50)])

        body = probe.wait("/lag", lambda status, body: status == 200 and body["groups"][0]["lag"] == 0)

        rows = body["groups"][0]["partitions"]
        assert len(rows) == 8
        probe.wait("/lag", lambda *_: sum(row["end"] for row in probe.rows()) == 50)
        probe.wait("/lag", lambda *_: {row["state"] for row in probe.rows()} == {"idle"})
        assert probe.ask("/live") == (200, {"ok": True, "problems": [], "notes": []})


def test_a_busy_process_is_alive_and_tells_the_age_of_its_oldest_record(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with running([MOODY], environment, tmp_path / "log") as process:
        probe = Probe(process)
        process.wait_logged(READY)
        publish(environment, [Act(name="slow", mood="slow", seconds=30)])
        wait_begun(process, environment, "slow")
        time.sleep(1.0)

        (busy,) = [row for row in probe.rows() if row["state"] == "busy"]

        assert (busy["window"], busy["lag"]) == (1, 1)
        assert busy["age"] > 0.9
        assert probe.ask("/live")[0] == 200


def test_a_process_whose_dependency_is_down_is_paused_alive_and_ready(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with running([MOODY], environment, tmp_path / "log") as process:
        probe = Probe(process)
        process.wait_logged(READY)
        publish(environment, [Act(name=f"a{i}", mood="refused") for i in range(10)])

        paused = probe.wait("/lag", lambda *_: {row["state"] for row in probe.rows()} == {"idle", "paused"})
        reasons = {row["why"] for group in paused["groups"] for row in group["partitions"] if row["why"]}
        assert probe.ask("/live")[0] == 200
        assert probe.ask("/ready")[0] == 200
        (tmp_path / "stock-is-back").touch()
        probe.wait("/lag", lambda _, body: body["groups"][0]["lag"] == 0, 60)

    assert any("stock database" in reason for reason in reasons)


def test_a_blocked_loop_is_told_while_it_is_blocked_and_makes_the_process_dead_in_the_end(
    environment: dict[str, str], tmp_path: Path
) -> None:
    short = environment | {"ORCHESTRA_STALL_TIMEOUT": "4"}
    with running([MOODY], short, tmp_path / "log") as process:
        probe = Probe(process)
        probe.wait("/ready", lambda status, _: status == 200)
        publish(short, [Act(name="stone", mood="blocking", seconds=9)])
        wait_begun(process, short, "stone")

        noted = probe.wait("/live", lambda _, body: any("blocked" in note for note in body["notes"]))
        assert noted["ok"]
        assert "by act (" in noted["notes"][0]
        assert "moody.py:" in noted["notes"][0]
        assert probe.ask("/ready")[0] == 503
        dead = probe.wait("/live", lambda status, _: status == 503)
        assert "the event loop is blocked for" in dead["problems"][0]
        probe.wait("/live", lambda status, _: status == 200)
        deadline = time.monotonic() + 10
        while "the event loop goes on, after" not in process.log.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)  # the watch looks a moment later

    warnings = [entry["message"] for entry in process.entries() if entry["level"] == "WARNING"]
    assert any(warning.startswith("the event loop is blocked for") and "by act (" in warning for warning in warnings)
    assert any(warning.startswith("the event loop goes on, after") for warning in warnings)


def test_a_suspended_broker_leaves_the_process_alive_for_a_while_and_it_recovers(
    own_kafka: KafkaCluster, tmp_path: Path
) -> None:
    environment = moody_environment(own_kafka.bootstrap_servers, tmp_path) | {
        "ORCHESTRA_HEALTH": "0",
        "ORCHESTRA_BROKER_TIMEOUT": "30",
    }
    with running([MOODY], environment, tmp_path / "log") as process:
        probe = Probe(process)
        probe.wait("/ready", lambda status, _: status == 200)
        own_kafka.pause(1)
        suspended = time.monotonic()

        unready = probe.wait("/ready", lambda status, _: status == 503)
        noted = probe.ask("/live")
        status, lag = probe.ask("/lag")
        probe.wait("/live", lambda status, _: status == 503, 30)
        dead_after = time.monotonic() - suspended
        own_kafka.resume(1)
        probe.wait("/live", lambda status, _: status == 200)
        probe.wait("/ready", lambda status, _: status == 200)

        assert "no broker has answered for" in unready["problems"][0]
        assert noted[0] == 200
        assert "waiting for them" in noted[1]["notes"][0]
        assert (status, lag["groups"][0]["lag"]) == (503, None)
        assert 28 < dead_after < 45
        publish(environment, [Act(name="after", mood="quick")])
        wait_begun(process, environment, "after")
        assert process.messages().count(READY) == 1


def test_the_parent_answers_for_all_its_workers(environment: dict[str, str], tmp_path: Path) -> None:
    with running([MOODY, "--workers", "2"], environment, tmp_path / "log") as process:
        probe = Probe(process)
        probe.wait("/ready", lambda status, _: status == 200)
        probe.wait("/lag", lambda status, _: status == 200 and len({row["worker"] for row in probe.rows()}) == 2)
        assert sorted(row["partition"] for row in probe.rows()) == list(range(8))
        publish(environment, [Act(name="stone", mood="blocking", seconds=6)])
        wait_begun(process, environment, "stone")

        noted = probe.wait("/live", lambda _, body: any("loop is blocked for" in note for note in body["notes"]))

        assert noted["ok"]
        assert "by act (" in noted["notes"][0]
        assert noted["notes"][0].startswith("worker ")
        assert probe.ask("/ready")[0] == 503
        probe.wait("/ready", lambda status, _: status == 200)


def test_a_taken_port_is_a_wrong_setting(environment: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running([MOODY, "--health", f"127.0.0.1:{port}"], environment, tmp_path / "log") as process:
            assert process.popen.wait(20) == 3

    assert f"cannot listen on 127.0.0.1:{port}" in process.messages()[-1]


def test_a_coordinator_is_ready_when_it_has_its_shards_and_tells_the_lag_of_inbox_and_router(
    environment: dict[str, str], tmp_path: Path
) -> None:
    food = environment | {"SERVICES_DATA": str(tmp_path)}
    with running(["services.food_delivery.app:food"], food, tmp_path / "log") as process:
        probe = Probe(process)
        probe.wait("/ready", lambda status, _: status == 200)

        body = probe.wait("/lag", lambda status, body: status == 200 and len(body["groups"]) == 2)

        groups = {group["group"].removeprefix(f"{food['ORCHESTRA_NAMESPACE']}."): group for group in body["groups"]}
        assert set(groups) == {"food", "food.router"}
        assert [row["state"] for row in groups["food"]["partitions"]] == ["idle"] * 8
        assert {group["lag"] for group in groups.values()} == {0}
