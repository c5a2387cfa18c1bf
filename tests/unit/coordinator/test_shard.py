"""The shard alone: values in, wishes out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from orchestra.coordinator.advance import Advance
from orchestra.coordinator.deployed import Flows
from orchestra.coordinator.exchange import Append, Deflect, Limits, Restored, Send
from orchestra.coordinator.journal import Journal
from orchestra.coordinator.record import Marks, OutboxMessage, from_headers
from orchestra.coordinator.shard import Shard
from orchestra.coordinator.wire import Wire
from orchestra.errors import FenceBreachedError
from orchestra.transport.partitioner import partition_for
from orchestra.transport.port import Record
from tests.unit.coordinator.harness import NAMES
from tests.unit.coordinator.tiny_flow import TinyFlow, outcome_record, start_record

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EMPTY = Restored(1, 0, -1, -1, NOW, {})


def seconds(count: float) -> datetime:
    return NOW + timedelta(seconds=count)


class Bench:
    """A shard, and a log that acknowledges when the test says so."""

    def __init__(self, restored: Restored = EMPTY, *, now: datetime = NOW, timeout: float | None = None) -> None:
        rules = Advance(Flows([TinyFlow(timeout=timeout)]), Journal(NAMES, 0), Wire(str, NAMES.inbox, 0, 1))
        self.shard = Shard(rules, Limits(partitions=1), restored, now)
        self.log: list[Append] = []
        self.offset = restored.claim

    def appends(self) -> list[Append]:
        """What the shard wants appended; takes it off its wishes."""
        return self._take(Append)  # type: ignore[return-value]

    def sends(self) -> list[OutboxMessage]:
        return [send.message for send in self._take(Send)]  # type: ignore[attr-defined]

    def _take(self, kind: type) -> Sequence[object]:
        found = [output for output in self.shard.outputs if isinstance(output, kind)]
        self.shard.outputs = [output for output in self.shard.outputs if not isinstance(output, kind)]
        return found

    def acknowledge(self, *, sends: bool = True) -> list[OutboxMessage]:
        """Everything is stored; gives what was sent."""
        sent: list[OutboxMessage] = []
        while appends := self.appends():
            for append in appends:
                self.log.append(append)
                self.offset += 1
                self.shard.appended(self.offset)
        for message in self.sends():
            sent.append(message)
            if sends:
                self.shard.sent(message)
        return sent

    def restored(self) -> Restored:
        """What a new owner would find."""
        records = {
            append.key: (place + 1, from_headers(append.headers), append.value or b"")
            for place, append in enumerate(self.log)
            if not append.key.startswith("!")
        }
        marks = [from_headers(append.headers) for append in self.log]
        highest = max(each.position for each in marks), max(each.emitted for each in marks)
        return Restored(1, len(self.log) + 1, *highest, marks[-1].now, records)


def marks_of(append: Append) -> Marks:
    return from_headers(append.headers)


def effect(key: str = "A", step: str = "a1", run: int = 0) -> str:
    return f"tiny/{key}/{run}/{step}/action/0"


def test_nothing_leaves_before_its_record_is_acknowledged() -> None:
    bench = Bench()

    bench.shard.receive(start_record("A", 0), NOW)

    assert len(bench.appends()) == 1
    assert bench.sends() == []
    bench.shard.appended(1)
    assert [message.kind for message in bench.sends()] == ["command", "journal"]


def test_commands_name_the_shard_as_the_place_for_their_answers() -> None:
    bench = Bench()
    bench.shard.receive(start_record("A", 0), NOW)

    command = bench.acknowledge()[0]

    headers = dict(command.headers)
    assert headers["ce_replyto"] == b"t.inbox"
    assert headers["ce_replypartition"] == b"0"


def test_an_offset_that_does_not_rise_is_a_breach() -> None:
    bench = Bench()
    bench.shard.receive(start_record("A", 0), NOW)
    bench.shard.receive(start_record("B", 1), NOW)
    bench.shard.appended(1)

    with pytest.raises(FenceBreachedError):
        bench.shard.appended(1)


def test_after_a_failed_append_nothing_more_is_wished() -> None:
    bench = Bench()
    bench.shard.receive(start_record("A", 0), NOW)
    bench.shard.receive(start_record("B", 1), NOW)

    bench.shard.append_failed()

    bench.shard.appended(1)
    assert bench.shard.outputs == []


def test_a_record_of_the_inbox_counts_once() -> None:
    bench = Bench()

    bench.shard.receive(start_record("A", 0), NOW)
    bench.shard.receive(start_record("A", 0), NOW)

    assert len(bench.appends()) == 1


def test_time_never_falls() -> None:
    bench = Bench()

    bench.shard.receive(start_record("A", 0), seconds(100))
    bench.shard.receive(start_record("B", 1), seconds(50))

    assert [marks_of(append).now for append in bench.appends()] == [seconds(100), seconds(100)]


def test_time_does_not_fall_over_a_restore() -> None:
    bench = Bench(EMPTY._replace(now=seconds(100)))

    bench.shard.receive(start_record("A", 0), NOW)

    assert marks_of(bench.appends()[0]).now == seconds(100)


# ---- messages


def test_a_message_that_failed_holds_back_the_later_ones_of_its_instance() -> None:
    bench = Bench()
    bench.shard.receive(start_record("A", 0), NOW)
    bench.shard.receive(start_record("B", 1), NOW)
    first, _, other, _ = bench.acknowledge(sends=False)
    bench.shard.not_sent(first)
    bench.shard.receive(outcome_record(effect(), 2), NOW)

    assert bench.acknowledge(sends=False) == []  # A's next command waits behind the first

    bench.shard.send_again()
    assert [message.ref.n for message in bench.sends()] == [1, 2, 2]
    bench.shard.sent(other)


def test_a_message_that_is_under_way_is_not_sent_twice() -> None:
    bench = Bench()
    bench.shard.receive(start_record("A", 0), NOW)
    command, _ = bench.acknowledge(sends=False)

    bench.shard.not_sent(command)
    bench.shard.send_again()

    assert bench.sends() == [command]


def test_the_mark_stands_before_the_first_message_that_is_not_known_to_be_sent() -> None:
    bench = Bench()
    for number, key in enumerate("ABC"):
        bench.shard.receive(start_record(key, number), NOW)
    messages = bench.acknowledge(sends=False)
    for message in messages:
        if message.ref.instance != "tiny/B":
            bench.shard.sent(message)

    assert bench.shard.mark() == 1

    for message in messages:
        bench.shard.sent(message)
    assert bench.shard.mark() == 3


def test_records_without_messages_count_as_sent() -> None:
    bench = Bench()
    bench.shard.tell_position()
    bench.acknowledge()

    assert bench.shard.mark() == 1


# ---- records for others


@pytest.mark.parametrize("partition", [None, 1])
def test_nothing_behind_a_record_for_others_is_durable_before_it_is_stored(partition: int | None) -> None:
    bench = Bench(timeout=60)
    bench.shard.receive(start_record("A", 0), NOW)
    bench.acknowledge()
    stray = outcome_record("nobody/x/0/a/action/0", 1)
    bench.shard.receive(stray, NOW)

    [deflect] = bench._take(Deflect)
    assert isinstance(deflect, Deflect)
    assert deflect.record is stray
    bench.shard.wake(seconds(61))
    assert [marks_of(append).position for append in bench.appends()] == [0]  # a timer's record does not pass it
    bench.shard.deflected()
    assert bench.shard.position == 1


def test_an_input_of_another_shard_goes_there() -> None:
    key = next(f"k{number}" for number in range(99) if partition_for(f"tiny/k{number}".encode(), 4) == 3)
    bench = Bench()
    bench.shard.limits = Limits(partitions=4)

    bench.shard.receive(start_record(key, 0), NOW)

    [deflect] = bench._take(Deflect)
    assert isinstance(deflect, Deflect)
    assert deflect.why.partition == 3


# ---- timers


def test_a_timer_runs_from_the_acknowledgement_of_its_command() -> None:
    bench = Bench(timeout=60)
    bench.shard.receive(start_record("A", 0), NOW)
    sent = bench.acknowledge(sends=False)
    assert bench.shard.roster.next_due() is None

    bench.shard.see(seconds(10))
    for message in sent:
        bench.shard.sent(message)

    assert bench.shard.roster.next_due() == seconds(70)


def test_a_timer_whose_command_counts_as_sent_runs_from_the_record() -> None:
    bench = Bench(timeout=60)
    bench.shard.receive(start_record("A", 0), NOW)
    bench.acknowledge()
    bench.shard.tell_position()  # which tells the mark
    bench.acknowledge()

    again = Bench(bench.restored(), now=seconds(20), timeout=60)

    assert again.sends() == []
    assert again.shard.roster.next_due() == seconds(60)


def test_a_timer_whose_command_is_sent_again_runs_from_the_new_acknowledgement() -> None:
    bench = Bench(timeout=60)
    bench.shard.receive(start_record("A", 0), NOW)
    bench.acknowledge()  # the mark is told by no record

    again = Bench(bench.restored(), now=seconds(20), timeout=60)
    assert again.shard.roster.next_due() is None
    for message in again.sends():
        again.shard.sent(message)

    assert again.shard.roster.next_due() == seconds(80)


def test_a_due_time_is_kept_by_later_records() -> None:
    bench = Bench(timeout=60)
    bench.shard.receive(start_record("A", 0), NOW)
    bench.acknowledge()
    bench.shard.receive(start_record("A", 1), seconds(30))  # a repeat: the instance's record is written anew

    bench.acknowledge()

    assert bench.shard.roster.next_due() == seconds(60)
    assert marks_of(bench.log[-1]).due == seconds(60)


def test_a_timer_fires_once() -> None:
    bench = Bench(timeout=60)
    bench.shard.receive(start_record("A", 0), NOW)
    bench.acknowledge()

    bench.shard.wake(seconds(61))
    bench.shard.wake(seconds(62))

    assert [append.key for append in bench.appends()] == ["tiny/A"]


def test_timers_may_be_held_back() -> None:
    bench = Bench(timeout=60)
    bench.shard.receive(start_record("A", 0), NOW)
    bench.acknowledge()

    bench.shard.wake(seconds(61), timers=False)

    assert [append.key for append in bench.appends()] == ["!position"]


def test_many_timers_that_are_due_at_once_take_turns_with_the_inbox() -> None:
    bench = Bench(timeout=60)
    for number in range(10):
        bench.shard.receive(start_record(f"k{number}", number), NOW)
    bench.acknowledge()

    bench.shard.wake(seconds(61), most=3)

    assert len(bench.appends()) == 3


def test_cancelled_timers_do_not_pile_up() -> None:
    bench = Bench(timeout=60)
    for number in range(3000):
        bench.shard.receive(start_record(f"k{number % 10}", number, number=number), NOW)
        bench.acknowledge()

    assert len(bench.shard.roster.alarms) < 1100


# ---- the log stays alive


def test_a_quiet_log_tells_its_position_within_ten_seconds() -> None:
    bench = Bench()
    bench.shard.receive(outcome_record("nobody/x/0/a/action/0", 0), NOW)
    bench.shard.deflected()
    bench.shard.wake(seconds(9))
    assert bench.appends() == []

    bench.shard.wake(seconds(10))

    [append] = bench.appends()
    assert (append.key, append.value, marks_of(append).position) == ("!position", b"{}", 0)


def test_a_quiet_log_tells_its_mark_once() -> None:
    bench = Bench()
    bench.shard.receive(start_record("A", 0), NOW)
    bench.acknowledge()

    for second in range(60):
        bench.shard.wake(seconds(second))
        bench.acknowledge()

    assert [append.key for append in bench.log] == ["tiny/A", "!position"]
    assert marks_of(bench.log[-1]).emitted == 1


def test_an_idle_log_is_written_at_least_hourly() -> None:
    bench = Bench()

    for minute in range(0, 180, 5):
        bench.shard.wake(seconds(60 * minute))

    assert [append.key for append in bench.appends()] == ["!position"] * 2


# ---- forgetting


def test_a_finished_instance_is_remembered_until_the_inbox_was_read_beyond_its_time() -> None:
    bench = Bench()
    bench.shard.limits = Limits(partitions=1, remember=60)
    bench.shard.receive(start_record("A", 0), NOW)
    bench.acknowledge()
    for number, step in enumerate(("a1", "a2"), 1):
        bench.shard.receive(outcome_record(effect(step=step), number), NOW)
        bench.acknowledge()
    bench.log.clear()
    bench.shard.wake(seconds(5))
    bench.acknowledge()

    later = Record("t.inbox", 0, 3, int(seconds(61).timestamp() * 1000), None, b"junk", (), append_time=True)
    bench.shard.receive(later, seconds(6))
    bench.shard.deflected()
    bench.shard.wake(seconds(7))
    bench.acknowledge()

    assert [(append.key, append.value) for append in bench.log][-2:] == [("!position", b"{}"), ("tiny/A", None)]
    assert bench.shard.roster.get("tiny/A") is None


def test_times_that_senders_made_up_forget_nothing() -> None:
    bench = Bench()
    bench.shard.limits = Limits(partitions=1, remember=60)
    far = Record("t.inbox", 0, 0, int(seconds(10**9).timestamp() * 1000), None, b"junk", (), append_time=False)

    bench.shard.receive(far, NOW)
    bench.shard.deflected()

    assert bench.shard.input_ms == 0
