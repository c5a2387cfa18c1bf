"""How a coordinator is declared, and what is wrong with a declaration."""

from __future__ import annotations

from typing import Any

import pytest

from orchestra.coordinator.coordinator import Coordinator
from orchestra.errors import DefinitionError
from orchestra.settings import Settings
from tests.unit.coordinator.tiny_flow import TinyFlow


@pytest.mark.parametrize(
    ("name", "options", "wrong"),
    [
        ("Food", {}, "a name is made of"),
        ("", {}, "a name is made of"),
        ("food", {"flows": []}, "name at least one flow"),
        ("food", {"flows": [TinyFlow(), TinyFlow()]}, "flow tiny version 1 is there twice"),
        ("food", {"flows": [TinyFlow(name="a/b")]}, "a name has no '/'"),
        ("food", {"flows": [TinyFlow(name="!a")]}, "does not begin with '!'"),
        ("food", {"flows": [int]}, "is no flow"),
        ("food", {"partitions": 0}, "partitions=0 is below 1"),
        ("food", {"max_running": 0}, "max_running=0 is below 1"),
        ("food", {"remember": "soon"}, "'soon' is not a duration"),
        ("food", {"instance_bytes": 2 << 20}, "<= 768 KiB"),
        ("food", {"outcome_bytes": 600 << 10}, "outcome_bytes <= instance_bytes"),
    ],
)
def test_a_mistake_is_an_error_at_import(name: str, options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(DefinitionError, match=wrong):
        Coordinator(name, **({"flows": [TinyFlow()]} | options))


def test_two_versions_of_a_flow_are_no_mistake() -> None:
    coordinator = Coordinator("food", flows=[TinyFlow(), TinyFlow(version=2)])

    newest = coordinator.flows.newest("tiny")
    assert newest is not None
    assert newest.version == 2


def test_the_topics_are_as_the_protocol_needs_them() -> None:
    specs = {spec.name: spec for spec in Coordinator("food", flows=[TinyFlow()]).needed_topics(Settings(namespace="x"))}

    assert set(specs) == {
        "x.food.inbox",
        "x.food.state",
        "x.food.journal",
        "x.food.alerts",
        "x.food.dead-letters",
        "x.tiny.orders",
        "x.tiny.commands",
    }
    assert specs["x.food.inbox"].config["message.timestamp.type"] == "LogAppendTime"
    assert specs["x.food.inbox"].config["retention.ms"] == "-1"
    assert specs["x.food.state"].config["cleanup.policy"] == "compact"
    counts = {specs[f"x.food.{name}"].partitions for name in ("inbox", "state", "journal")}
    assert counts == {8}
