"""Trails as values: who is first, who follows, which copy counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestra.service.detour import Detour
from orchestra.service.retry_topic import Detoured, Source


def about(offset: int, *, hop: int = 1, handler: str = "h", partition: int = 0) -> Detoured:
    return Detoured(handler, attempt=2, hop=hop, source=Source("t", partition, offset, 0))


def source(offset: int, partition: int = 0) -> Source:
    return Source("t", partition, offset, 0)


def test_an_empty_trail_holds_nobody() -> None:
    detour = Detour()

    assert detour.ahead_of("h", b"k", source(5)) is None
    assert not detour.is_on("h", b"k", source(5))


def test_later_records_of_a_key_are_behind_the_earliest_in_its_topic() -> None:
    detour = Detour()
    detour.add(b"k", about(5), "5s", 0)
    detour.add(b"k", about(3), "30s", 0)

    assert detour.ahead_of("h", b"k", source(9)) == "30s"
    assert detour.ahead_of("h", b"k", source(5)) == "30s"
    assert detour.ahead_of("h", b"k", source(3)) is None, "it is the first itself"
    assert detour.ahead_of("h", b"k", source(2)) is None, "it came before"


def test_other_keys_handlers_and_partitions_have_trails_of_their_own() -> None:
    detour = Detour()
    detour.add(b"k", about(1), "5s", 0)

    assert detour.ahead_of("h", b"other", source(9)) is None
    assert detour.ahead_of("other", b"k", source(9)) is None
    assert detour.ahead_of("h", b"k", source(9, partition=1)) is None


def test_a_trail_ends_with_its_last_record() -> None:
    detour = Detour()
    detour.add(b"k", about(1), "5s", 0)
    detour.add(b"k", about(2), "5s", 1)

    detour.done("5s", 0)
    assert detour.ahead_of("h", b"k", source(2)) is None
    assert detour.ahead_of("h", b"k", source(9)) == "5s"
    detour.done("5s", 1)
    detour.done("5s", 1)

    assert detour.ahead_of("h", b"k", source(9)) is None
    assert len(detour) == 0


def test_the_copy_with_more_hops_counts_and_the_first_is_passed_over() -> None:
    detour = Detour()
    detour.add(b"k", about(1, hop=1), "5s", 7)
    detour.add(b"k", about(1, hop=2), "30s", 0)

    assert detour.is_superseded("5s", 7)
    assert not detour.is_superseded("30s", 0)
    assert detour.ahead_of("h", b"k", source(2)) == "30s"
    detour.done("5s", 7)
    assert detour.is_on("h", b"k", source(1)), "the other copy is still there"


def test_of_two_equal_copies_one_counts() -> None:
    detour = Detour()
    detour.add(b"k", about(1), "5s", 7)
    detour.add(b"k", about(1), "5s", 8)

    assert [detour.is_superseded("5s", offset) for offset in (7, 8)] == [True, False]


def test_a_record_is_known_once_however_often_it_is_seen() -> None:
    detour = Detour()
    for _ in range(3):
        detour.add(b"k", about(1), "5s", 7)
    detour.done("5s", 7)

    assert len(detour) == 0
    assert not detour.is_on("h", b"k", source(1))


places = st.tuples(st.sampled_from(["5s", "30s"]), st.integers(0, 8))
moves = st.tuples(st.booleans(), places, st.integers(0, 5), st.sampled_from([b"a", b"b"]), st.integers(1, 3))


@given(st.lists(moves, max_size=60))
def test_it_says_what_a_list_of_all_records_would_say(
    history: list[tuple[bool, tuple[str, int], int, bytes, int]],
) -> None:
    detour, model = Detour(), dict[tuple[str, int], tuple[bytes, int, int]]()
    for comes, place, offset, key, hop in history:
        if comes:
            detour.add(key, about(offset, hop=hop), *place)
            model.setdefault(place, (key, offset, hop))
        else:
            detour.done(*place)
            model.pop(place, None)

        assert len(detour) == len(model)
        for wanted in (b"a", b"b"):
            mine = {place: (number, hops) for place, (name, number, hops) in model.items() if name == wanted}
            earliest = min((number for number, _ in mine.values()), default=99)
            for number in range(7):
                ahead = detour.ahead_of("h", wanted, source(number))
                assert (ahead is not None) == (earliest < number)
                assert detour.is_on("h", wanted, source(number)) == any(each == number for each, _ in mine.values())
            counting = [place for place in mine if not detour.is_superseded(*place)]
            assert len(counting) >= len({number for number, _ in mine.values()}), "each record has a copy that counts"
