from __future__ import annotations

from pathlib import Path

from orchestra.testing.kafka_node import Node, free_ports
from orchestra.testing.kafka_readiness import in_sync, is_ready


def topic(replicas: list[int], isr: list[int]) -> dict[str, object]:
    return {"topic": "t", "partitions": [{"partition": 0, "replicas": replicas, "isr": isr}]}


def test_a_replica_on_a_node_that_is_down_is_not_waited_for() -> None:
    assert in_sync(topic(replicas=[1, 2, 3], isr=[1, 3]), ids={1, 3})


def test_a_replica_that_lags_behind_is_waited_for() -> None:
    assert not in_sync(topic(replicas=[1, 2, 3], isr=[1, 3]), ids={1, 2, 3})


def test_a_node_that_does_not_listen_is_not_ready(tmp_path: Path) -> None:
    port, controller_port = free_ports(2)

    assert not is_ready([Node(1, port, controller_port, tmp_path)])
