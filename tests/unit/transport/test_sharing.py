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
