"""How do tests get the Kafka of the official container image? Through testcontainers, at a port of this machine."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from orchestra.errors import LocalKafkaError
from orchestra.testing.kafka_jars import KAFKA_VERSION
from orchestra.testing.kafka_node import HOST, broker_settings, free_ports

_READY_SECONDS = 90


def container_settings(port: int) -> dict[str, str]:
    """The image's environment: one node, advertised to this machine at that port."""
    return {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:29093",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        # Three doors: this machine's clients, clients beside the broker, and the controller.
        "KAFKA_LISTENERS": f"HOST://:{port},BROKER://:29092,CONTROLLER://:29093",
        "KAFKA_ADVERTISED_LISTENERS": f"HOST://{HOST}:{port},BROKER://localhost:29092",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "HOST:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_INTER_BROKER_LISTENER_NAME": "BROKER",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": "1",
        **{"KAFKA_" + name.upper().replace(".", "_"): value for name, value in broker_settings().items()},
    }


@contextmanager
def running_kafka() -> Generator[str]:
    """A broker in a container, for as long as the block runs; gives its ``host:port``.

    Raises:
        LocalKafkaError: testcontainers is not installed, or the container did not become ready.
    """
    try:
        from testcontainers.core.container import DockerContainer
        from testcontainers.core.wait_strategies import LogMessageWaitStrategy
    except ImportError as error:
        raise LocalKafkaError("ORCHESTRA_TEST_KAFKA=docker needs testcontainers: pip install testcontainers") from error

    class KafkaContainer(DockerContainer):
        """The official image; testcontainers' own class wants Confluent's layout."""

        def __init__(self, port: int) -> None:
            super().__init__(f"apache/kafka:{KAFKA_VERSION}")
            self.with_bind_ports(port, port)  # the port is advertised, so it must be known beforehand
            for name, value in container_settings(port).items():
                self.with_env(name, value)
            self.waiting_for(LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(_READY_SECONDS))

    (port,) = free_ports(1)
    with KafkaContainer(port):
        yield f"{HOST}:{port}"
