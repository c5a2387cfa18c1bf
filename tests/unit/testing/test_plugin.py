from __future__ import annotations

import subprocess
import sys

import pytest

from orchestra.testing.plugin import _kafka, _postgres


def test_a_kafka_that_runs_already_is_taken_as_it_is(pytestconfig: pytest.Config) -> None:
    with _kafka("kafka.example:9092", pytestconfig) as bootstrap_servers:
        assert bootstrap_servers == "kafka.example:9092"


@pytest.mark.parametrize("choice", ["", "Local", "podman", "kafka.example"])
def test_a_wrong_choice_of_kafka_names_the_right_ones(choice: str, pytestconfig: pytest.Config) -> None:
    with pytest.raises(pytest.UsageError, match="must be local, docker or host:port"), _kafka(choice, pytestconfig):
        pass


def test_a_postgres_that_runs_already_is_taken_as_it_is(pytestconfig: pytest.Config) -> None:
    with _postgres("postgresql://me:secret@db.example:5432/postgres", pytestconfig) as server:
        assert server._url == "postgresql://me:secret@db.example:5432/postgres"


@pytest.mark.parametrize("choice", ["", "docker", "db.example:5432", "mysql://db.example"])
def test_a_wrong_choice_of_postgres_names_the_right_ones(choice: str, pytestconfig: pytest.Config) -> None:
    with pytest.raises(pytest.UsageError, match="must be local, or postgresql://"), _postgres(choice, pytestconfig):
        pass


def test_loading_the_plugin_costs_a_project_nothing() -> None:
    slow = "{'aiokafka', 'asyncpg', 'jgo', 'pydantic', 'rich.console', 'testcontainers', 'typer'}"
    program = f"import sys, orchestra.testing.plugin; print(sorted({slow} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
