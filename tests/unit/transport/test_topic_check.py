"""Are the topics as they must be, and is the remedy named?"""

from __future__ import annotations

import pytest

from orchestra.errors import DefinitionError
from orchestra.transport.port import TopicSpec, TopicState
from orchestra.transport.topic_check import check, explain, merge, missing_of


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


LETTERS = TopicSpec("shop.dead-letters", takes_from=frozenset({"orders", "payments"}))


def states(*partitions: tuple[str, int], **bytes_of: str) -> dict[str, TopicState]:
    return {
        name: TopicState(name, count, 1, {"max.message.bytes": bytes_of.get(name.partition(".")[0], "1000")})
        for name, count in partitions
    }


def test_dead_letters_need_as_many_partitions_as_the_largest_of_their_sources() -> None:
    found = states(("orders", 16), ("payments", 4), ("shop.dead-letters", 8))

    (problem,) = check([LETTERS], found, partitions=8)

    assert (problem.topic, problem.kind) == ("shop.dead-letters", "partitions")
    assert problem.text == "has 8 partitions, must have at least the 16 of orders"
    assert problem.remedy == "kafka-topics.sh --alter --topic shop.dead-letters --partitions 16"


def test_dead_letters_may_have_more_partitions_than_their_sources() -> None:
    assert check([LETTERS], states(("orders", 2), ("payments", 4), ("shop.dead-letters", 8)), partitions=8) == []


def test_a_source_that_is_still_to_be_created_counts_too() -> None:
    found = states(("payments", 4), ("shop.dead-letters", 8))

    missing, fewer = check([TopicSpec("orders", 12), LETTERS], found, partitions=8)

    assert missing.kind == "missing"
    assert fewer.text == "has 8 partitions, must have at least the 12 of orders"


def test_dead_letters_are_created_with_the_partitions_of_the_largest_source() -> None:
    found = states(("orders", 16), ("payments", 4))

    (spec,) = missing_of([TopicSpec("orders"), TopicSpec("payments"), LETTERS], found, partitions=8)
    (problem,) = check([TopicSpec("orders"), TopicSpec("payments"), LETTERS], found, partitions=8)

    assert (spec.name, spec.partitions) == ("shop.dead-letters", 16)
    assert problem.remedy == "kafka-topics.sh --create --topic shop.dead-letters --partitions 16"


def test_dead_letters_of_topics_that_do_not_exist_either_get_the_default() -> None:
    specs = missing_of([TopicSpec("orders"), TopicSpec("payments"), LETTERS], {}, partitions=5)

    assert [(spec.name, spec.partitions) for spec in specs] == [
        ("orders", 5),
        ("payments", 5),
        ("shop.dead-letters", 5),
    ]


def test_dead_letters_must_take_records_as_large_as_their_sources() -> None:
    found = states(("orders", 8), ("payments", 8), ("shop.dead-letters", 8), payments="5000")

    (problem,) = check([LETTERS], found, partitions=8)

    assert problem.text == "has max.message.bytes=1000, must have at least the 5000 of payments"
    assert problem.remedy == (
        "kafka-configs.sh --alter --entity-type topics --entity-name shop.dead-letters "
        "--add-config max.message.bytes=5000"
    )


def test_a_topic_must_take_records_of_the_size_that_is_written_to_it() -> None:
    spec = TopicSpec("food.state", 8, record_bytes=2000)

    (problem,) = check([spec], states(("food.state", 8)), partitions=8)

    assert problem.text == "has max.message.bytes=1000, must have at least 2000"
    assert problem.remedy.endswith("--entity-name food.state --add-config max.message.bytes=2000")
    assert check([spec], states(("food.state", 8), food="2000"), partitions=8) == []


def test_topics_that_must_have_the_same_partitions_are_all_named_when_one_differs() -> None:
    specs = [TopicSpec("food.inbox", 8), TopicSpec("food.state", 8), TopicSpec("food.journal", 8)]

    problems = check(specs, states(("food.inbox", 8), ("food.state", 6), ("food.journal", 12)), partitions=8)

    assert [(problem.topic, problem.text) for problem in problems] == [
        ("food.state", "has 6 partitions, must have 8"),
        ("food.journal", "has 12 partitions, must have 8"),
    ]


def test_what_two_parts_need_of_one_topic_is_added_up() -> None:
    one = TopicSpec("letters", takes_from=frozenset({"a"}), record_bytes=10)
    other = TopicSpec("letters", takes_from=frozenset({"b"}), record_bytes=20)

    assert merge([one, other]) == [TopicSpec("letters", takes_from=frozenset({"a", "b"}), record_bytes=20)]


def test_all_kinds_of_problems_are_in_one_report_each_with_its_remedy() -> None:
    specs = [
        LETTERS,
        TopicSpec("food.state", 8, {"cleanup.policy": "compact"}, record_bytes=2000),
        TopicSpec("absent", 3, {"cleanup.policy": "delete"}),
    ]
    found = states(("orders", 16), ("shop.dead-letters", 8), ("food.state", 7), orders="9000")

    text = explain(check(specs, found, partitions=8), len(specs))

    configs = "kafka-configs.sh --alter --entity-type topics --entity-name"
    assert text.splitlines() == [
        "3 of 3 topics are not as needed",
        "  shop.dead-letters: has 8 partitions, must have at least the 16 of orders",
        "      kafka-topics.sh --alter --topic shop.dead-letters --partitions 16",
        "  shop.dead-letters: has max.message.bytes=1000, must have at least the 9000 of orders",
        f"      {configs} shop.dead-letters --add-config max.message.bytes=9000",
        "  food.state: has 7 partitions, must have 8",
        "      the count is fixed: declare 8, or delete the topic with its records and create it anew".replace(
            "8", "7"
        ),
        "  food.state: has cleanup.policy=delete, must have compact",
        f"      {configs} food.state --add-config cleanup.policy=compact",
        "  food.state: has max.message.bytes=1000, must have at least 2000",
        f"      {configs} food.state --add-config max.message.bytes=2000",
        "  missing: absent",
        "      `orchestra topics create` makes them, or Kafka's own tool:",
        "      kafka-topics.sh --create --topic absent --partitions 3 --config cleanup.policy=delete",
    ]


def test_topic_is_created_as_roomy_as_the_largest_record_that_it_may_have_to_take() -> None:
    large = TopicState("orders", 4, 1, {"max.message.bytes": "8388608"})
    usual = TopicState("payments", 4, 1, {"max.message.bytes": "1048588"})
    states = {state.name: state for state in (large, usual)}
    letters = TopicSpec("a.dead-letters", takes_from=frozenset({"orders", "payments"}))
    others = TopicSpec("b.dead-letters", takes_from=frozenset({"payments"}))
    state = TopicSpec("food.state", record_bytes=3_000_000)

    created = {spec.name: dict(spec.config) for spec in missing_of([letters, others, state], states, partitions=8)}

    assert created == {
        "a.dead-letters": {"max.message.bytes": "8388608"},
        "b.dead-letters": {},
        "food.state": {"max.message.bytes": "3000000"},
    }
