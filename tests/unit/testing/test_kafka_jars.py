from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from orchestra.errors import LocalKafkaError
from orchestra.testing.kafka_jars import KAFKA_VERSION, KafkaJars, cache_directory, jars_digest, kafka_jars
from orchestra.testing.kafka_java import Java

NO_JAVA = Java(Path("/nonexistent/java"), 17, "PATH")


def filled_cache(root: Path) -> KafkaJars:
    jars = KafkaJars(root / f"kafka-{KAFKA_VERSION}")
    libs = jars.directory / "libs"
    libs.mkdir(parents=True)
    for name in ("a.jar", "b.jar"):
        (libs / name).write_bytes(name.encode())
    (jars.directory / "jars.json").write_text(json.dumps({"a.jar": 5, "b.jar": 5}))
    jars.bootstrap_checkpoint.write_bytes(b"checkpoint")
    return jars


@pytest.fixture
def without_jgo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jgo", None)


def test_orchestra_cache_goes_before_the_xdg_cache() -> None:
    environ = {"ORCHESTRA_CACHE": "/own", "XDG_CACHE_HOME": "/xdg"}

    assert cache_directory(environ) == Path("/own")
    assert cache_directory({"XDG_CACHE_HOME": "/xdg"}) == Path("/xdg/orchestra")
    assert cache_directory({}) == Path.home() / ".cache" / "orchestra"


@pytest.mark.usefixtures("without_jgo")
def test_a_complete_cache_needs_neither_jgo_nor_java(tmp_path: Path) -> None:
    expected = filled_cache(tmp_path)

    assert kafka_jars(NO_JAVA, cache=tmp_path) == expected


def test_the_class_path_is_one_argument_with_an_unexpanded_star(tmp_path: Path) -> None:
    assert filled_cache(tmp_path).class_path.endswith("/libs/*")


@pytest.mark.usefixtures("without_jgo")
@pytest.mark.parametrize("lost", ["libs/a.jar", "jars.json", "bootstrap.checkpoint"])
def test_a_cache_that_lost_a_file_is_fetched_anew(tmp_path: Path, lost: str) -> None:
    (filled_cache(tmp_path).directory / lost).unlink()

    with pytest.raises(LocalKafkaError, match="jgo fetches them"):
        kafka_jars(NO_JAVA, cache=tmp_path)


@pytest.mark.usefixtures("without_jgo")
def test_a_truncated_jar_is_fetched_anew(tmp_path: Path) -> None:
    (filled_cache(tmp_path).directory / "libs" / "a.jar").write_bytes(b"a.j")

    with pytest.raises(LocalKafkaError, match=r"pip install 'orchestra\[local-kafka\]'"):
        kafka_jars(NO_JAVA, cache=tmp_path)


def test_a_failed_download_says_what_to_do_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRA_MAVEN_URL", "http://127.0.0.1:1/maven2")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    with pytest.raises(LocalKafkaError) as caught:
        kafka_jars(NO_JAVA, cache=tmp_path)

    assert "could not be fetched from http://127.0.0.1:1/maven2" in str(caught.value)
    assert "ORCHESTRA_MAVEN_URL" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_the_digest_changes_with_a_name_and_with_a_content(tmp_path: Path) -> None:
    libs = filled_cache(tmp_path).directory / "libs"
    before = jars_digest(libs)

    (libs / "a.jar").write_bytes(b"A.jar")
    changed = jars_digest(libs)
    (libs / "a.jar").rename(libs / "c.jar")
    renamed = jars_digest(libs)

    assert len({before, changed, renamed}) == 3
