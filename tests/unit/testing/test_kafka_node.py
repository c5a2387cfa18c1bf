from __future__ import annotations

import re
import socket
from pathlib import Path

from orchestra.testing.kafka_jars import KafkaJars, Program
from orchestra.testing.kafka_java import Java
from orchestra.testing.kafka_node import (
    HOST,
    Node,
    broker_settings,
    free_ports,
    is_free,
    new_kafka_id,
    prepare,
    server_properties,
)


def nodes(count: int, directory: Path = Path("/data")) -> list[Node]:
    return [
        Node(number, 9091 + number, 19_091 + number, directory / f"node-{number}") for number in range(1, count + 1)
    ]


def settings_of(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_one_node_asks_for_no_replicas() -> None:
    (node,) = nodes(1)

    settings = settings_of(server_properties(node, [node]))

    assert settings["controller.quorum.voters"] == "1@127.0.0.1:19092"
    assert settings["listeners"] == "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:19092"
    assert {value for name, value in settings.items() if "replica" in name and "lag" not in name} == {"1"}
    assert {value for name, value in settings.items() if "isr" in name or "insync" in name} == {"1"}


def test_three_nodes_replicate_three_times_and_need_two_in_sync() -> None:
    three = nodes(3)

    settings = settings_of(server_properties(three[1], three))

    assert settings["node.id"] == "2"
    assert settings["controller.quorum.voters"] == "1@127.0.0.1:19092,2@127.0.0.1:19093,3@127.0.0.1:19094"
    assert {value for name, value in settings.items() if name.endswith("replication.factor")} == {"3"}
    assert {value for name, value in settings.items() if "min.isr" in name or "insync" in name} == {"2"}


def test_a_missing_topic_is_an_error_and_sessions_of_three_seconds_are_allowed() -> None:
    settings = broker_settings()

    assert settings["auto.create.topics.enable"] == "false"
    assert int(settings["group.min.session.timeout.ms"]) <= 3000
    assert int(settings["broker.session.timeout.ms"]) <= 3000


def test_the_command_holds_the_settings_file_that_marks_it_as_ours() -> None:
    (node,) = nodes(1)

    command = node.command(Program(Java(Path("/java"), 17, "PATH"), KafkaJars(Path("/cache/kafka"))))

    assert command[0] == "/java"
    assert command[-2:] == ["kafka.Kafka", "/data/node-1/server.properties"]
    assert command[command.index("-cp") + 1] == "/cache/kafka/libs/*"


def test_preparing_again_keeps_the_identity_of_the_data(tmp_path: Path) -> None:
    (node,) = nodes(1, tmp_path)
    jars = KafkaJars(tmp_path)
    jars.bootstrap_checkpoint.write_bytes(b"checkpoint")

    prepare(node, [node], "C" * 22, jars)
    first = (node.data / "meta.properties").read_text()
    prepare(node, [node], "C" * 22, jars)

    assert (node.data / "meta.properties").read_text() == first
    assert f"cluster.id={'C' * 22}\nnode.id=1\n" in first
    assert (node.data / "bootstrap.checkpoint").read_bytes() == b"checkpoint"


def test_last_words_are_the_end_of_the_log(tmp_path: Path) -> None:
    (node,) = nodes(1, tmp_path)
    node.directory.mkdir()

    assert node.last_words() == "(no log)"
    node.log.write_text("\n".join(f"line {number}" for number in range(100)))
    assert node.last_words(2) == "line 98\nline 99"


def test_a_kafka_id_is_22_characters_of_base64url() -> None:
    ids = {new_kafka_id() for _ in range(50)}

    assert len(ids) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", one) for one in ids)


def test_free_ports_are_different_free_and_below_the_range_of_outgoing_connections() -> None:
    ports = free_ports(6)

    assert len(set(ports)) == 6
    assert all(20_000 <= port < 32_768 and is_free(port) for port in ports)


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.socket() as server:
        server.bind((HOST, 0))
        server.listen()

        assert not is_free(server.getsockname()[1])
