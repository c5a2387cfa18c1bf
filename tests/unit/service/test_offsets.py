from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from orchestra.service.offsets import WINDOW, Place, Tracker, read_place


def test_base_waits_for_the_lowest_incomplete_record() -> None:
    tracker = Tracker(Place(10))
    for offset in (10, 11, 12):
        assert tracker.admit(offset)

    tracker.done(12)
    tracker.done(11)
    assert tracker.base == 10
    assert tracker.place() == Place(10, frozenset({11, 12}))

    tracker.done(10)
    assert tracker.base == 13


def test_offsets_that_hold_no_record_hold_nothing_up() -> None:
    tracker = Tracker(Place(0))
    tracker.admit(3)
    tracker.admit(900_000)

    tracker.done(3)
    assert tracker.base == 900_000
    tracker.done(900_000)
    assert tracker.base == 900_001


def test_markers_at_the_end_are_passed_over_only_when_nothing_is_under_way() -> None:
    tracker = Tracker(Place(0))
    tracker.admit(0)
    tracker.pass_over(5)
    assert tracker.base == 0

    tracker.done(0)
    tracker.pass_over(5)
    assert tracker.base == 5


def test_nothing_is_committed_before_anything_is_known() -> None:
    assert Tracker().place() is None


def test_a_record_is_admitted_once() -> None:
    tracker = Tracker()
    assert tracker.admit(7)
    assert not tracker.admit(7)
    assert not tracker.admit(6)


def test_restored_map_survives_a_second_restart_before_its_records_come() -> None:
    tracker = Tracker(Place(10, frozenset({12, 15})))
    assert tracker.admit(10)
    assert tracker.place() == Place(10, frozenset({12, 15}))


def test_unreadable_notes_count_as_no_map() -> None:
    for note in ("", "x", "o1;0;%%%", "o2;0;AA==", "o1;many;AA==", "o1;0", "o1;0;" + "A" * 4000):
        assert read_place(7, note) == Place(7)


@given(st.integers(0, 1 << 40), st.frozensets(st.integers(1, WINDOW - 1)), st.integers(0, 99))
def test_note_read_back_is_the_place_and_fits_into_a_commit(base: int, places: frozenset[int], restarts: int) -> None:
    place = Place(base, frozenset(base + i for i in places), restarts)

    note = place.note()

    assert len(note) < 4096
    assert read_place(base, note) == place


@given(st.integers(0, 100), st.text(max_size=60))
def test_any_note_at_all_is_read(base: int, note: str) -> None:
    assert read_place(base, note).base == base


@given(st.frozensets(st.integers(1, 3 * WINDOW), max_size=50))
def test_what_is_done_beyond_the_window_is_run_again_and_never_taken_for_something_else(places: frozenset[int]) -> None:
    note = Place(500, frozenset(500 + i for i in places)).note()

    assert len(note) < 4096
    assert read_place(500, note).done == {500 + i for i in places if i < WINDOW}


LOGS = st.lists(st.integers(1, 400), min_size=1, max_size=60).map(
    lambda gaps: [sum(gaps[: i + 1]) for i in range(len(gaps))]
)
"""Offsets that hold records, with holes between them as markers and compaction leave them."""


@given(LOGS, st.data())
def test_base_never_falls_and_is_at_most_the_lowest_incomplete_offset(log: list[int], data: st.DataObject) -> None:
    tracker = Tracker(Place(0))
    for offset in log:
        tracker.admit(offset)
    incomplete = set(log)
    before = tracker.base

    for offset in data.draw(st.permutations(log)):
        tracker.done(offset)
        incomplete.remove(offset)
        base = tracker.base
        assert base is not None
        assert before is not None
        assert before <= base <= min(incomplete, default=log[-1] + 1)
        before = base

    assert before == log[-1] + 1


@given(LOGS, st.data())
def test_restored_place_and_redelivery_run_exactly_what_was_incomplete(log: list[int], data: st.DataObject) -> None:
    tracker = Tracker(Place(0))
    for offset in log:
        tracker.admit(offset)
    done = data.draw(st.sets(st.sampled_from(log)))
    for offset in done:
        tracker.done(offset)
    place = tracker.place()
    assert place is not None

    restored = Tracker(read_place(place.base, place.note()))
    run = [offset for offset in log if offset >= place.base and restored.admit(offset)]

    assert run == [offset for offset in log if offset not in done]
    for offset in run:
        restored.done(offset)
    assert restored.base == log[-1] + 1


class TrackerMachine(RuleBasedStateMachine):
    """A log with holes, records done in any order, and restarts from what was committed, against plain sets."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[int] = []  # offsets that hold records
        self.end = 0
        self.finished: set[int] = set()
        self.running: set[int] = set()
        self.read = 0  # index into the log: what is fetched next
        self.tracker = Tracker(Place(0))
        self.lowest_base = 0

    @rule(hole=st.integers(0, 3))
    def append(self, hole: int) -> None:
        self.log.append(self.end + hole)
        self.end += hole + 1

    @precondition(lambda self: self.read < len(self.log))
    @rule()
    def fetch(self) -> None:
        offset = self.log[self.read]
        self.read += 1
        to_run = self.tracker.admit(offset)
        assert to_run == (offset not in self.finished)
        if to_run:
            self.running.add(offset)

    @precondition(lambda self: bool(self.running))
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.running)))
        self.tracker.done(offset)
        self.running.remove(offset)
        self.finished.add(offset)

    @rule()
    def idle(self) -> None:
        if self.read == len(self.log):
            self.tracker.pass_over(self.end)

    @rule()
    def restart(self) -> None:
        place = self.tracker.place()
        assert place is not None
        restored = read_place(place.base, place.note())
        self.tracker = Tracker(restored)
        self.running.clear()
        self.read = next((i for i, offset in enumerate(self.log) if offset >= restored.base), len(self.log))

    @invariant()
    def base_never_falls_and_never_passes_an_incomplete_record(self) -> None:
        base = self.tracker.base
        assert base is not None
        assert base >= self.lowest_base
        self.lowest_base = base
        incomplete = [offset for offset in self.log if offset not in self.finished]
        assert base <= min(incomplete, default=self.end)
        assert self.tracker.incomplete == len(self.running)


TestTracker = TrackerMachine.TestCase
