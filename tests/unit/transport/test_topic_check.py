"""Are the topics as they must be, and is the remedy named?"""

from __future__ import annotations

import pytest

from orchestra.errors import DefinitionError
from orchestra.transport.port import TopicSpec, TopicState
from orchestra.transport.topic_check import check, explain, merge


def state(name: str = "food.state", partitions: int = 8, **config: str) -> dict[str, TopicState]:
    return {name: TopicState(name, partitions, 1, {key.replace("_", "."): value for key, value in config.items()})}


def test_nothing_is_wrong_with_a_topic_that_is_as_needed() -> None:
    spec = TopicSpec("food.state", 8, {"cleanup.policy": "compact"})

    assert check([spec], state(cleanup_policy="compact"), partitions=8) == []


def test_a_missing_topic_comes_with_the_command_that_creates_it() -> None:
    spec = TopicSpec("food.state", None, {"cleanup.policy": "compact"})

    (problem,) = check([spec], {}, partitions=3)

    assert problem.kind == "missing"
    expected = "kafka-topics.sh --create --topic food.state --partitions 3 --config cleanup.policy=compact"
    assert problem.remedy == expected


def test_another_count_of_partitions_is_a_problem_only_where_the_count_matters() -> None:
    states = state(partitions=3)

    assert check([TopicSpec("food.state")], states, partitions=8) == []
    (problem,) = check([TopicSpec("food.state", 8)], states, partitions=8)
    assert problem.text == "has 3 partitions, must have 8"


@pytest.mark.parametrize(
    ("wanted", "found", "suits"),
    [
        ("compact", "compact", True),
        ("compact", "delete", False),
        ("delete", "compact", False),
        ("compact,delete", "delete,compact", True),
        ("compact", "compact,delete", False),
    ],
)
def test_the_clean_up_policy_must_be_the_same_set_of_words(wanted: str, found: str, suits: bool) -> None:
    spec = TopicSpec("food.state", None, {"cleanup.policy": wanted})

    assert (check([spec], state(cleanup_policy=found), partitions=8) == []) is suits


def test_a_topic_that_names_no_clean_up_policy_has_kafkas_default() -> None:
    (problem,) = check([TopicSpec("food.state", None, {"cleanup.policy": "compact"})], state(), partitions=8)

    assert problem.text == "has cleanup.policy=delete, must have compact"
    assert problem.remedy.endswith("--entity-name food.state --add-config cleanup.policy=compact")


@pytest.mark.parametrize(
    ("wanted", "found", "suits"),
    [
        ("1000", "1000", True),
        ("1000", "2000", True),
        ("1000", "-1", True),
        ("1000", "999", False),
        ("-1", "-1", True),
        ("-1", "604800000", False),
    ],
)
def test_records_may_be_kept_longer_than_needed_but_not_shorter(wanted: str, found: str, suits: bool) -> None:
    spec = TopicSpec("food.state", None, {"retention.ms": wanted})

    assert (check([spec], state(retention_ms=found), partitions=8) == []) is suits


def test_what_an_operator_tunes_is_left_alone() -> None:
    spec = TopicSpec("food.state", None, {"segment.ms": "1000"})

    assert check([spec], state(segment_ms="5000"), partitions=8) == []


def test_who_sets_the_timestamps_must_be_as_needed() -> None:
    spec = TopicSpec("food.inbox", None, {"message.timestamp.type": "LogAppendTime"})

    (problem,) = check([spec], state("food.inbox"), partitions=8)

    assert problem.text == "has message.timestamp.type=CreateTime, must have LogAppendTime"


def test_a_list_of_words_is_bracketed_as_kafkas_tool_wants_it() -> None:
    spec = TopicSpec("food.state", None, {"cleanup.policy": "compact,delete"})

    (problem,) = check([spec], state(), partitions=8)

    assert problem.remedy.endswith("--add-config cleanup.policy=[compact,delete]")


def test_every_problem_is_explained_at_once() -> None:
    specs = [TopicSpec("a"), TopicSpec("food.state", 8, {"cleanup.policy": "compact"}), TopicSpec("ok")]
    states = state(partitions=3) | state("ok")

    text = explain(check(specs, states, partitions=8), len(specs))

    assert text.startswith("2 of 3 topics are not as needed\n")
    assert "missing: a\n" in text
    assert "food.state: has 3 partitions, must have 8" in text
    assert "food.state: has cleanup.policy=delete, must have compact" in text
    assert "`orchestra topics create`" in text


def test_parts_that_need_the_same_topic_are_merged() -> None:
    specs = [
        TopicSpec("b", 8),
        TopicSpec("a", None, {"cleanup.policy": "delete"}),
        TopicSpec("a", 3, {"retention.ms": "5"}),
    ]

    merged = merge(specs)

    assert merged == [TopicSpec("a", 3, {"cleanup.policy": "delete", "retention.ms": "5"}), TopicSpec("b", 8)]


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (TopicSpec("a", 3), TopicSpec("a", 8), "3 partitions and 8"),
        (
            TopicSpec("a", None, {"cleanup.policy": "compact"}),
            TopicSpec("a", None, {"cleanup.policy": "delete"}),
            "cleanup.policy=compact and cleanup.policy=delete",
        ),
    ],
)
def test_parts_that_disagree_about_a_topic_are_told_so(one: TopicSpec, other: TopicSpec, words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        merge([one, other])
