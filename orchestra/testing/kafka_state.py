"""Which clusters are there? Each is a directory; ``cluster.json`` in it names the nodes, their ports and their pids."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestra.errors import LocalKafkaError
from orchestra.testing.kafka_jars import KAFKA_VERSION, cache_directory
from orchestra.testing.kafka_node import Node, new_kafka_id


@dataclass(frozen=True, slots=True)
class Layout:
    """What never changes in a cluster: written once, before its first node starts."""

    name: str
    cluster_id: str
    nodes: tuple[Node, ...]

    @staticmethod
    def plan(name: str, directory: Path, ports: Iterable[tuple[int, int]]) -> Layout:
        """A new cluster with one node per pair of ports (clients, controllers)."""
        nodes = tuple(
            Node(number, port, controller, directory / f"node-{number}")
            for number, (port, controller) in enumerate(ports, start=1)
        )
        return Layout(name, new_kafka_id(), nodes)


def named_directory(name: str) -> Path:
    """Where the cluster of that name lives.

    Raises:
        LocalKafkaError: the name is no file name.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}", name):
        raise LocalKafkaError(f"{name!r} cannot be a cluster's name: use letters, digits, - and _")
    return _clusters() / name


def known_names() -> list[str]:
    """The names of all clusters in the user's cache, running or not."""
    return sorted(path.parent.name for path in _clusters().glob("*/cluster.json"))


def save_state(directory: Path, layout: Layout, pids: dict[int, int]) -> None:
    """Write ``cluster.json``, whole or not at all."""
    nodes = [
        {"id": node.id, "port": node.port, "controller_port": node.controller_port, "pid": pids.get(node.id)}
        for node in layout.nodes
    ]
    content = {"name": layout.name, "kafka": KAFKA_VERSION, "cluster_id": layout.cluster_id, "nodes": nodes}
    scratch = directory / "cluster.json.new"
    scratch.write_text(json.dumps(content, indent=1) + "\n")
    scratch.rename(directory / "cluster.json")


def load_state(directory: Path) -> tuple[Layout, dict[int, int]] | None:
    """What ``cluster.json`` says: the layout, and the pids by node id. None if there is no cluster there.

    Raises:
        LocalKafkaError: the file is there and makes no sense.
    """
    path = directory / "cluster.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        rows = content["nodes"]
        nodes = tuple(
            Node(row["id"], row["port"], row["controller_port"], directory / f"node-{row['id']}") for row in rows
        )
        pids = {row["id"]: row["pid"] for row in rows if row["pid"]}
        return Layout(content["name"], content["cluster_id"], nodes), pids
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise LocalKafkaError(f"{path} is damaged ({error!r}): end its nodes by hand and remove it") from error


def _clusters() -> Path:
    return cache_directory() / "clusters"
