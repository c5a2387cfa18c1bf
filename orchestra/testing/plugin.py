"""Which fixtures does orchestra give to pytest?

``kafka``            a real Kafka, shared by the whole run: ``kafka.bootstrap_servers``
``kafka_cluster``    three brokers on this machine that tests may kill, pause and restart

``postgres``         an empty database on a real PostgreSQL, for one test: an URL for ``create_async_engine``
``postgres_server``  the server, shared by the whole run, which makes databases

All start when the first test asks for them. ``ORCHESTRA_TEST_KAFKA`` says where ``kafka`` comes from:

``local``      (default) Apache Kafka as a process of this machine: needs ``orchestra[local-kafka]``, no Docker, no Java
``docker``     the image ``apache/kafka``, through testcontainers
``host:port``  a Kafka that runs already; tests make topics on it and remove nothing

and ``ORCHESTRA_TEST_POSTGRES`` where ``postgres`` does; both need ``orchestra[postgres]``:

``local``      (default) a server of this run's own, from the program that is installed here; where none is, from
               Debian's packages, which apt-get downloads into a cache
an URL         ``postgresql://user:password@host:port/database`` of a user who may create databases

pytest loads this module in every project that has orchestra installed: its top imports nothing that costs time.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from orchestra.testing.kafka_cluster import KafkaCluster
    from orchestra.testing.postgres import LocalPostgres, PostgresServer


pytest.register_assert_rewrite("orchestra.testing.conformance")  # its assertions explain themselves, as a test's do


@dataclass(frozen=True, slots=True)
class Kafka:
    """A Kafka that is ready to be used.

    Attributes:
        bootstrap_servers: ``host:port``, with commas if there are several.
    """

    bootstrap_servers: str


@pytest.fixture(scope="session")
def kafka(pytestconfig: pytest.Config) -> Iterator[Kafka]:
    """A real Kafka broker, one for the whole run. Tests share it: use topic and group names of your own."""
    with _kafka(os.environ.get("ORCHESTRA_TEST_KAFKA", "local"), pytestconfig) as bootstrap_servers:
        yield Kafka(bootstrap_servers)


@pytest.fixture(scope="session")
def kafka_cluster(pytestconfig: pytest.Config) -> Iterator[KafkaCluster]:
    """Three brokers with node control. A test leaves every node running, as it found them."""
    with _local_cluster(3, pytestconfig) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> Iterator[PostgresServer]:
    """A real PostgreSQL, one for the whole run."""
    with _postgres(os.environ.get("ORCHESTRA_TEST_POSTGRES", "local"), pytestconfig) as server:
        yield server


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[str]:
    """An empty database of this test's own on a real PostgreSQL: ``create_async_engine(postgres)``."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@contextmanager
def _kafka(choice: str, config: pytest.Config) -> Generator[str]:
    if choice == "local":
        with _local_cluster(1, config) as cluster:
            yield cluster.bootstrap_servers
    elif choice == "docker":
        from orchestra.testing.kafka_docker import running_kafka

        with running_kafka() as bootstrap_servers:
            yield bootstrap_servers
    elif ":" in choice:
        yield choice
    else:
        raise pytest.UsageError(f"ORCHESTRA_TEST_KAFKA is {choice!r}: it must be local, docker or host:port")


@contextmanager
def _local_cluster(brokers: int, config: pytest.Config) -> Generator[KafkaCluster]:
    directory = Path(tempfile.mkdtemp(prefix="orchestra-kafka-"))
    try:
        cluster = _start_cluster(directory, brokers, config)
        try:
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _postgres(choice: str, config: pytest.Config) -> Generator[PostgresServer]:
    if choice == "local":
        with _local_postgres(config) as server:
            yield server
    elif choice.startswith(("postgresql://", "postgres://")):
        from orchestra.testing.postgres import PostgresServer

        yield PostgresServer(choice)
    else:
        raise pytest.UsageError(
            "ORCHESTRA_TEST_POSTGRES must be local, or postgresql://user:password@host:port/database"
        )


@contextmanager
def _local_postgres(config: pytest.Config) -> Generator[LocalPostgres]:
    from rich.console import Console

    from orchestra.errors import LocalPostgresError
    from orchestra.testing.postgres import LocalPostgres

    directory = Path(tempfile.mkdtemp(prefix="orchestra-postgres-"))
    try:
        with _uncaptured(config):  # a first download takes half a minute: show it
            server = LocalPostgres.start(directory, console=Console(stderr=True))
    except LocalPostgresError as error:
        pytest.fail(str(error), pytrace=False)
    try:
        yield server
    finally:
        server.stop()


def _start_cluster(directory: Path, brokers: int, config: pytest.Config) -> KafkaCluster:
    from rich.console import Console

    from orchestra.errors import LocalKafkaError
    from orchestra.testing.kafka_cluster import KafkaCluster

    try:
        with _uncaptured(config):  # a first download takes half a minute: show it
            return KafkaCluster.start(directory, brokers=brokers, guarded=True, console=Console(stderr=True))
    except LocalKafkaError as error:
        pytest.fail(str(error), pytrace=False)


def _uncaptured(config: pytest.Config) -> AbstractContextManager[None]:
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    return cast("AbstractContextManager[None]", capture.global_and_fixture_disabled())
