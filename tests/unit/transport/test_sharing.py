"""Partitions are shared out evenly, completely, and stay where they were as far as that allows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestra.transport.port import Partition
from orchestra.transport.sharing import share_out


def partitions(*numbers: int, topic: str = "t") -> list[Partition]:
    return [Partition(topic, number) for number in numbers]


def test_first_member_gets_everything() -> None:
    assert share_out({"a": {"t"}}, {"t": 3}, {}) == {"a": partitions(0, 1, 2)}


def test_newcomer_takes_only_its_share() -> None:
    shared = share_out({"a": {"t"}, "b": {"t"}}, {"t": 4}, {"a": partitions(0, 1, 2, 3)})

    assert shared == {"a": partitions(0, 1), "b": partitions(2, 3)}


def test_what_a_leaver_had_goes_to_the_others_and_theirs_stays() -> None:
    previous = {"a": partitions(0, 3), "b": partitions(1, 4), "c": partitions(2, 5)}

    shared = share_out({"a": {"t"}, "c": {"t"}}, {"t": 6}, previous)

    assert set(partitions(0, 3)) <= set(shared["a"])
    assert set(partitions(2, 5)) <= set(shared["c"])


def test_spare_partition_is_kept_by_one_member_only() -> None:
    shared = share_out({name: {"t"} for name in "abc"}, {"t": 4}, {"a": partitions(0, 1), "b": partitions(2, 3)})

    assert shared == {"a": partitions(0, 1), "b": partitions(2), "c": partitions(3)}


def test_member_gets_only_topics_that_it_reads() -> None:
    shared = share_out({"a": {"t"}, "b": {"u"}}, {"t": 2, "u": 2}, {"a": partitions(0, topic="u")})

    assert shared == {"a": partitions(0, 1), "b": partitions(0, 1, topic="u")}


def test_group_without_members_shares_nothing() -> None:
    assert share_out({}, {"t": 4}, {"a": partitions(0)}) == {}


@given(
    st.integers(1, 6),
    st.integers(0, 20),
    st.dictionaries(st.integers(0, 20), st.integers(0, 7), max_size=20),
)
def test_every_partition_has_one_owner_and_nobody_has_two_more_than_another(
    members: int, count: int, owners: dict[int, int]
) -> None:
    previous: dict[str, list[Partition]] = {}
    for number, owner in owners.items():
        previous.setdefault(f"m{owner}", []).append(Partition("t", number))

    shared = share_out({f"m{n}": {"t"} for n in range(members)}, {"t": count}, previous)

    assert sorted(p for mine in shared.values() for p in mine) == partitions(*range(count))
    sizes = [len(mine) for mine in shared.values()]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 6), st.integers(1, 20))
def test_sharing_again_moves_nothing(members: int, count: int) -> None:
    topics = {f"m{n}": {"t"} for n in range(members)}
    shared = share_out(topics, {"t": count}, {})

    assert share_out(topics, {"t": count}, shared) == shared


def test_partitions_of_one_number_stay_together_where_that_is_asked_for() -> None:
    topics = {name: {"t", "r", "u"} for name in "ab"}

    shared = share_out(topics, {"t": 4, "r": 4, "u": 4}, {}, [{"t", "r"}])

    for mine in shared.values():
        assert {p.number for p in mine if p.topic == "t"} == {p.number for p in mine if p.topic == "r"}
    assert [len(mine) for mine in shared.values()] == [6, 6]


def test_those_that_belong_together_stay_where_their_first_was() -> None:
    topics = {name: {"t", "r"} for name in "ab"}

    shared = share_out(topics, {"t": 2, "r": 2}, {"a": partitions(1), "b": partitions(0)}, [{"t", "r"}])

    assert shared["a"] == [Partition("r", 1), Partition("t", 1)]
    assert shared["b"] == [Partition("r", 0), Partition("t", 0)]


def test_sets_that_touch_are_one() -> None:
    topics = {name: {"t", "r", "u"} for name in "abc"}

    shared = share_out(topics, {"t": 3, "r": 3, "u": 3}, {}, [{"t", "r"}, {"r", "u"}, ()])

    assert all(len({p.number for p in mine}) == 1 and len(mine) == 3 for mine in shared.values())


def test_topics_of_different_sizes_are_together_as_far_as_they_go() -> None:
    shared = share_out({"a": {"t", "r"}, "b": {"t", "r"}}, {"t": 2, "r": 4}, {}, [{"t", "r"}])

    owner = {partition: name for name, mine in shared.items() for partition in mine}
    assert len(owner) == 6
    assert all(owner[Partition("t", n)] == owner[Partition("r", n)] for n in range(2))


def test_what_nobody_reads_whole_is_still_read() -> None:
    """A release that begins to use a retry topic: the old members do not know of it."""
    shared = share_out({"new": {"r"}, "old": {"t"}}, {"t": 2, "r": 2}, {}, [{"t", "r"}])

    assert shared == {"new": partitions(0, 1, topic="r"), "old": partitions(0, 1)}


@given(st.integers(1, 5), st.integers(0, 9), st.integers(0, 9), st.integers(0, 3))
def test_sharing_together_is_complete_even_and_stays(members: int, t: int, u: int, joined: int) -> None:
    topics = {f"m{n}": {"t", "r", "u"} for n in range(members)}
    counts = {"t": t, "r": t, "u": u}
    together = [{"t", "r"}, {"t", "r", "u"}, {"u"}, set[str]()][joined]

    shared = share_out(topics, counts, {}, [together])

    owned = [partition for mine in shared.values() for partition in mine]
    assert sorted(owned) == sorted(Partition(topic, n) for topic, count in counts.items() for n in range(count))
    assert share_out(topics, counts, shared, [together]) == shared
    sizes = [len(mine) for mine in shared.values()]
    assert max(sizes) - min(sizes) <= 3
