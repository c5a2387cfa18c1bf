"""Values beside the instance's record: when they are written, and when they go."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from orchestra.coordinator.advance import Advance
from orchestra.coordinator.deployed import Flows
from orchestra.coordinator.exchange import Append, Limits, Restored
from orchestra.coordinator.journal import Journal
from orchestra.coordinator.record import Instance, decode_instance, from_headers, split_value_key, value_key
from orchestra.coordinator.restore import Fold
from orchestra.coordinator.shard import Shard
from orchestra.coordinator.values import Values
from orchestra.coordinator.wire import Wire
from orchestra.transport.port import Record
from tests.unit.coordinator.harness import NAMES
from tests.unit.coordinator.tiny_flow import TinyFlow, outcome_record, start_record

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VALUE_A1 = "!value/tiny/A/0/a1"
VALUE_A2 = "!value/tiny/A/0/a2"


class Log:
    """A shard, and all that it appended, acknowledged as it comes."""

    def __init__(self, restored: Restored | None = None, *, value_bytes: int = 1000) -> None:
        flow = TinyFlow(keeps=True)
        rules = Advance(Flows([flow]), Journal(NAMES, 0), Wire(str, NAMES.inbox, 0, 1))
        limits = Limits(partitions=1, value_bytes=value_bytes, remember=60)
        restored = restored or Restored(1, 0, -1, -1, NOW, {})
        self.shard = Shard(rules, limits, restored, NOW)
        self.appends: list[Append] = []
        self.offset = restored.claim

    def settle(self) -> list[str]:
        """Acknowledges everything. The keys that were appended; "-" before that of a null."""
        fresh = [each for each in self.shard.outputs if isinstance(each, Append)]
        self.shard.outputs.clear()
        for _ in fresh:
            self.offset += 1
            self.shard.appended(self.offset)
        for messages in list(self.shard.outbox.by_instance.values()):
            for message in messages:
                self.shard.sent(message)
        self.shard.outputs.clear()
        self.appends += fresh
        return [each.key if each.value is not None else f"-{each.key}" for each in fresh]

    def run_to_the_end(self) -> None:
        self.shard.receive(start_record("A", 0), NOW)
        self.shard.receive(outcome_record("tiny/A/0/a1/action/0", 1), NOW)
        self.shard.receive(outcome_record("tiny/A/0/a2/action/0", 2), NOW)

    def fold(self, count: int | None = None) -> Restored:
        """What the next owner finds when only so many of the appends have landed."""
        fold = Fold()
        for place, append in enumerate(self.appends[:count]):
            fold.take(Record("t.state", 0, place, 0, append.key.encode(), append.value, append.headers))
        return fold.restored(1, len(self.appends) + 1)


def position_of(append: Append) -> int:
    return from_headers(append.headers).position


def test_a_value_stands_before_its_record_and_tells_no_new_position() -> None:
    log = Log()

    log.shard.receive(start_record("A", 0), NOW)

    assert log.settle() == [VALUE_A1, "tiny/A"]
    assert [position_of(append) for append in log.appends] == [-1, 0]


def test_a_value_that_is_no_longer_referred_to_is_removed_after_the_record_that_says_so() -> None:
    log = Log()
    log.shard.receive(start_record("A", 0), NOW)
    log.shard.receive(outcome_record("tiny/A/0/a1/action/0", 1), NOW)
    log.settle()

    log.shard.wake(NOW)

    assert log.settle() == [f"-{VALUE_A1}"]
    assert set(log.shard.values.of("tiny/A", 0)) == {"a2"}


def test_a_finished_instance_leaves_no_value() -> None:
    log = Log()

    log.run_to_the_end()
    log.shard.wake(NOW)

    assert log.settle() == [VALUE_A1, "tiny/A", VALUE_A2, "tiny/A", "tiny/A", f"-{VALUE_A1}", f"-{VALUE_A2}"]
    assert log.fold().values == {}


def test_an_instance_that_is_over_and_keeps_its_state_keeps_its_values() -> None:
    values = Values()
    instance = Instance("f/1", "f", 1, 7, 1, "running", "", NOW)
    values.keep(instance, {"a": b"1"})
    over = replace(instance, finished=NOW, state={"kept": ["a"]})

    values.drop(over, {})

    assert values.of("f/1", 7) == {"a": b"1"}
    assert not values.garbage


def test_another_run_begins_without_values_and_those_of_the_old_one_go() -> None:
    values = Values()
    instance = Instance("f/1", "f", 1, 7, 1, "halted", "", NOW)
    values.keep(instance, {"a": b"1", "b": b"2"})
    again = replace(instance, run=9)

    assert values.of("f/1", 9) == {}
    assert values.keep(again, {"a": b"3"}) == [("!value/f/1/9/a", b"3")]
    values.drop(again, {})

    assert values.of("f/1", 9) == {"a": b"3"}
    assert set(values.garbage) == {"!value/f/1/7/a", "!value/f/1/7/b"}


def test_a_value_without_the_record_that_refers_to_it_is_written_again() -> None:
    log = Log()
    log.shard.receive(start_record("A", 0), NOW)
    log.settle()

    after = Log(log.fold(1))

    assert after.shard.position == -1
    assert set(after.shard.values.garbage) == {VALUE_A1}
    after.shard.receive(start_record("A", 0), NOW)
    after.shard.wake(NOW)
    assert after.settle() == [VALUE_A1, "tiny/A"]


def test_what_a_crash_left_is_removed_by_the_next_owner() -> None:
    log = Log()
    log.run_to_the_end()
    log.settle()

    after = Log(log.fold())
    after.shard.wake(NOW)

    assert sorted(after.settle()) == [f"-{VALUE_A1}", f"-{VALUE_A2}"]
    assert {position_of(append) for append in after.appends} == {2}


def test_values_are_there_after_a_restore() -> None:
    log = Log()
    log.shard.receive(start_record("A", 0), NOW)
    log.shard.receive(outcome_record("tiny/A/0/a1/action/0", 1), NOW)
    log.settle()

    after = Log(log.fold())

    instance = after.shard.get("tiny/A")
    assert instance is not None
    assert instance.values["a2"] == b"tiny/A/0/a2"
    after.shard.receive(outcome_record("tiny/A/0/a2/action/0", 2), NOW)
    assert after.settle() == ["tiny/A"]
    assert decode_instance("tiny/A", after.appends[0].value or b"").status == "completed"


def test_the_null_of_a_forgotten_instance_takes_its_values_along() -> None:
    log = Log()
    log.run_to_the_end()
    log.settle()
    log.shard.values.keep(Instance("tiny/A", "tiny", 1, 0, 9, "running", "", NOW), {"late": b"1"})
    hour = timedelta(hours=1)
    late = int((NOW + hour).timestamp() * 1000)
    log.shard.receive(start_record("B", 3, time_ms=late), NOW + hour)
    log.settle()

    log.shard.wake(NOW + hour)

    keys = log.settle()
    assert keys.index("!position") < keys.index("-tiny/A") < keys.index("-!value/tiny/A/0/late")


def test_a_value_that_is_too_large_parks_its_instance() -> None:
    log = Log(value_bytes=100)

    log.shard.receive(start_record("A", 0, large=100), NOW)

    assert log.settle() == ["tiny/A"]
    instance = log.shard.get("tiny/A")
    assert instance is not None
    assert instance.parked is not None
    assert instance.parked.why == "too_large"
    assert "a value beside it" in instance.parked.note


def test_thousands_of_values_are_removed_some_at_a_time() -> None:
    values = Values()
    instance = Instance("f/1", "f", 1, 7, 1, "running", "", NOW)
    values.keep(instance, {str(number): b"x" for number in range(250)})
    values.drop(replace(instance, finished=NOW), {})

    assert [len(values.sweep(100)) for _ in range(4)] == [100, 100, 50, 0]


def test_a_key_tells_instance_run_and_name() -> None:
    assert split_value_key(value_key("pay/a%2Fb", 12, "pack/3")) == ("pay/a%2Fb", 12, "pack/3")
