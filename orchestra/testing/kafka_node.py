"""What is one Kafka node? Its address, its files and its settings, as values."""

from __future__ import annotations

import base64
import os
import random
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestra.testing.kafka_jars import KafkaJars, Program

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Node:
    """One node in combined mode: broker and controller in one process.

    Attributes:
        id: 1, 2, 3 …
        port: where clients connect.
        controller_port: where the other nodes' controllers connect.
        directory: everything the node writes.
    """

    id: int
    port: int
    controller_port: int
    directory: Path

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def settings(self) -> Path:
        return self.directory / "server.properties"

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def log(self) -> Path:
        return self.directory / "node.log"

    def command(self, program: Program) -> list[str]:
        """The process. The settings file's path in it is what tells our nodes from everybody else's."""
        java, jars = program.java.executable, program.jars
        return [str(java), *_JVM, "-cp", jars.class_path, "kafka.Kafka", str(self.settings)]

    def last_words(self, lines: int = 15) -> str:
        """The end of the node's log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return "(no log)"


# Small and quick to start: a test's broker never lives long enough for the second compiler to pay off.
_JVM = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xms96m",
    "-Xmx512m",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
)


def prepare(node: Node, nodes: Sequence[Node], cluster_id: str, jars: KafkaJars) -> None:
    """Write the settings and, the first time, format the data directory. Idempotent."""
    node.data.mkdir(parents=True, exist_ok=True)
    node.settings.write_text(server_properties(node, nodes))
    identity = node.data / "meta.properties"
    if not identity.exists():
        shutil.copyfile(jars.bootstrap_checkpoint, node.data / "bootstrap.checkpoint")
        identity.write_text(f"version=1\ncluster.id={cluster_id}\nnode.id={node.id}\ndirectory.id={new_kafka_id()}\n")


def new_kafka_id() -> str:
    """A new id as Kafka writes them: 16 random bytes in 22 characters of base64url."""
    return base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")


def server_properties(node: Node, nodes: Sequence[Node]) -> str:
    """The node's ``server.properties``: quick to notice failures, small, and replicated as far as the size allows."""
    replicas = min(len(nodes), 3)
    in_sync = 2 if replicas == 3 else 1
    voters = ",".join(f"{one.id}@{HOST}:{one.controller_port}" for one in nodes)
    settings = {
        "process.roles": "broker,controller",
        "node.id": node.id,
        "controller.quorum.voters": voters,
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{node.address},CONTROLLER://{HOST}:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{node.address}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": node.data,
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        **broker_settings(),
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def broker_settings() -> dict[str, str]:
    """What does not depend on the node: the same for nodes of this machine and for containers."""
    return dict(_SETTINGS)


_SETTINGS = {
    # As in a well-run production cluster: a topic that is missing is an error.
    "auto.create.topics.enable": "false",
    # Small internal topics: a node starts and fails over in a fraction of the time.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "4",
    # A small machine.
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.cleaner.dedupe.buffer.size": "16777216",
    # Tests watch groups rebalance, sessions of 3 s end, and brokers die.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "replica.lag.time.max.ms": "3000",
    # Tests watch compaction and retention happen.
    "log.initial.task.delay.ms": "500",
    "log.cleaner.backoff.ms": "500",
    "log.retention.check.interval.ms": "500",
    "log.segment.delete.delay.ms": "1000",
}


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different.

    They come from below the range that outgoing connections use (32768 on Linux, 49152 elsewhere): while a node is
    down for a test, no client's connection may take its port.
    """
    found: list[int] = []
    for port in random.SystemRandom().sample(range(20_000, 32_700), 2_000):
        if is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"fewer than {count} free ports between 20000 and 32700")


def is_free(port: int) -> bool:
    """Whether a server could listen on that port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java does: TIME_WAIT is no obstacle
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
