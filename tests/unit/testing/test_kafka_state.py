from __future__ import annotations

from pathlib import Path

import pytest

from orchestra.errors import LocalKafkaError
from orchestra.testing.kafka_state import Layout, known_names, load_state, named_directory, save_state


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    layout = Layout.plan("one", tmp_path, [(9092, 20_000), (9093, 20_001)])

    save_state(tmp_path, layout, {1: 4711})

    assert load_state(tmp_path) == (layout, {1: 4711})


def test_an_empty_directory_holds_no_cluster(tmp_path: Path) -> None:
    assert load_state(tmp_path) is None


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"name": "x", "cluster_id": "y", "nodes": [{"id": 1}]}', '"\\u0000"']
)
def test_a_damaged_state_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "cluster.json").write_text(text)

    with pytest.raises(LocalKafkaError, match=r"cluster\.json is damaged"):
        load_state(tmp_path)


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "x" * 80, "-rf"])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(LocalKafkaError, match="cannot be a cluster's name"):
        named_directory(name)


def test_known_names_are_those_with_a_state_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRA_CACHE", str(tmp_path))
    for name in ("b", "a"):
        named_directory(name).mkdir(parents=True)
        save_state(named_directory(name), Layout.plan(name, named_directory(name), []), {})
    named_directory("empty").mkdir()

    assert known_names() == ["a", "b"]
