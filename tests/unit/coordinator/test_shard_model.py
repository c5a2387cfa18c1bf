"""Every order of events within small bounds, with the rules and with each rule taken out.

The first part proves (for its bounds) that the shard keeps the invariants of ``docs/adr/0001-fenced-log.md``. In the
second part each test is a row of that page's table: it bends one rule, and the search must find a history that breaks.
A bend is a subclass here, never a switch in the code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from orchestra.coordinator.deployed import Flows
from orchestra.coordinator.exchange import Change, Restored
from orchestra.coordinator.inbox import Deflected
from orchestra.coordinator.journal import Journal
from orchestra.coordinator.record import CLAIM, Given, Instance, Marks, OutboxMessage
from orchestra.coordinator.restore import Fold
from orchestra.coordinator.shard import Shard
from orchestra.coordinator.wire import Wire
from orchestra.transport.port import Record
from tests.unit.coordinator.model import NAMES, Bounds, Owner, QuietRules, Search, Violation, World, Write
from tests.unit.coordinator.tiny_flow import TinyFlow

ONE = ("A",)
FORGET = Bounds(keys=ONE, strays=1, hours=1, remember=60, compactions=1, purges=1, slow_acks=False)
VALUES = Bounds(keys=ONE, steps=2, values=True, slow_acks=False)

SMALL = {
    "two instances": Bounds(slow_acks=False),
    "slow acknowledgements": Bounds(keys=ONE, timeout=60, hours=1),
    "a timer, and compaction": Bounds(keys=ONE, timeout=60, hours=1, compactions=2, owners=1),
    "a cancellation": Bounds(keys=ONE, cancels=ONE, slow_acks=False),
    "appends and sends that fail": Bounds(keys=ONE, losses=1, failed_sends=1, steps=2),
    "a new producer id": Bounds(keys=ONE, new_ids=1, slow_acks=False),
    "a queue": Bounds(running=1, slow_acks=False),
    "forgetting, and a late repeat": replace(FORGET, owners=1, late_repeats=ONE),
    "forgetting, and a new owner": FORGET,
    "an early event": Bounds(keys=ONE, early=ONE, slow_acks=False),
    "an early event, and time": Bounds(keys=ONE, early=ONE, hours=1, owners=1),
    "an early event for nobody": replace(FORGET, early=("Z",), strays=0, owners=1),
    "early events, compacted": Bounds(keys=ONE, early=("A", "A"), compactions=1, owners=1),
    "values": VALUES,
    "values, and slow acknowledgements": replace(VALUES, steps=1, slow_acks=True),
    "values, compacted": replace(VALUES, compactions=2, owners=1),
    "values of an instance that is cancelled": replace(VALUES, steps=1, cancels=ONE, owners=1),
    "values, and appends that fail": replace(VALUES, steps=1, losses=1),
    "values that are forgotten": replace(FORGET, values=True, owners=1),
}
WIDE = {
    "two instances": Bounds(),
    "a new producer id, and three owners": Bounds(keys=ONE, new_ids=1, owners=3, slow_acks=False),
    "forgetting, and repeats": replace(FORGET, late_repeats=ONE),
    "a cancellation, and slow acknowledgements": Bounds(keys=ONE, cancels=ONE, answers=1),
    "two instances, compacted": Bounds(compactions=1, slow_acks=False),
    "values, compacted": replace(VALUES, compactions=1),
    "values of two instances": replace(VALUES, keys=("A", "B"), steps=1),
}


@pytest.mark.parametrize("bounds", SMALL.values(), ids=SMALL.keys())
def test_no_order_of_events_breaks_an_invariant(bounds: Bounds) -> None:
    assert Search(World, bounds).run() > 200


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("bounds", WIDE.values(), ids=WIDE.keys())
def test_no_order_of_events_breaks_an_invariant_within_wider_bounds(bounds: Bounds) -> None:
    assert Search(World, bounds, most=5_000_000).run() > 10_000


# ---- each rule, taken out


def broken(world: type[World], bounds: Bounds) -> Violation:
    """The shortest history that breaks an invariant."""
    with pytest.raises(Violation) as caught:
        Search(world, bounds, breadth_first=True, most=100_000).run()
    return caught.value


def test_claim_before_reading() -> None:
    class NoClaim(World):
        def begin(self, owner: Owner) -> None:
            owner.claim = len(self.log) - 1
            self.open_with(owner, self.fold_to(owner.claim).restored(owner.pid, owner.claim))

    assert broken(NoClaim, Bounds(keys=ONE)).invariant in ("I3", "breach")


def test_claim_first_and_read_after() -> None:
    class ReadFirst(World):
        def begin(self, owner: Owner) -> None:
            owner.fold = self.fold_to(len(self.log) - 1)
            super().begin(owner)

        def claimed(self, owner: Owner) -> None:
            assert owner.fold is not None
            assert owner.claim is not None
            self.open_with(owner, owner.fold.restored(owner.pid, owner.claim))

    assert broken(ReadFirst, Bounds(keys=ONE)).invariant in ("I3", "I5")


def test_emit_only_after_acknowledgement() -> None:
    class EmitsAtOnce(Shard):
        def _append(self, key: str, value: bytes | None, marks: Marks, introduces: Any = ()) -> None:
            super()._append(key, value, marks, introduces)
            for message in introduces:
                self._due(message, self.last + 1)

    assert broken(bent(EmitsAtOnce), Bounds(keys=ONE)).invariant == "I1"


class MarkWithHoles(Shard):
    """The highest record whose message was acknowledged, whatever lies below it."""

    highest = -1

    def sent(self, message: OutboxMessage) -> None:
        self.highest = max(self.highest, self.outbox.unsent.get(message.ref, -1))
        super().sent(message)

    def mark(self) -> int:
        return max(self.emitted, self.highest)


def test_mark_without_holes() -> None:
    assert broken(bent(MarkWithHoles), Bounds(steps=2)).invariant == "I5"


def test_mark_without_holes_needs_two_instances_to_be_seen() -> None:
    assert Search(bent(MarkWithHoles), Bounds(keys=ONE, steps=2)).run()


def test_mark_is_not_the_claim_after_a_restore() -> None:
    class MarkIsClaim(Shard):
        def mark(self) -> int:
            return max(super().mark(), self.claim)

    assert broken(bent(MarkIsClaim), Bounds()).invariant == "I5"


def test_outbox_is_carried_forward() -> None:
    class DropsOutbox(Shard):
        def _carried(self, key: str) -> tuple[OutboxMessage, ...]:
            return ()

    assert broken(bent(DropsOutbox), Bounds(keys=ONE, cancels=ONE)).invariant in ("I2", "I5")


def test_sending_again_after_a_restore() -> None:
    class ForgetsToSend(Shard):
        def _send_outboxes(self, restored: Restored) -> None: ...

    assert broken(bent(ForgetsToSend), Bounds(keys=ONE)).invariant == "I2"


def test_position_before_the_tombstone() -> None:
    class NullOnly(Shard):
        def tell_position(self) -> None: ...

    assert broken(bent(NullOnly), FORGET).invariant == "I4"


class SkipsRepeats(Shard):
    """Takes a repeated start in without a record. That is allowed, as long as the position tells it."""

    def receive(self, record: Record, now: datetime) -> None:
        if record.header("orchestra-input") == b"start" and self.roster.entries:
            self._pass(record)
        else:
            super().receive(record, now)


def test_position_includes_skipped_inputs() -> None:
    class TellsEffects(SkipsRepeats):
        effective = -1

        def _commit(self, change: Change, given: Given | None) -> None:
            self.effective = self.position
            super()._commit(change, given)

        def _marks(self, instance: Instance | None = None) -> Marks:
            return super()._marks(instance)._replace(position=self.effective)

    bounds = replace(FORGET, late_repeats=ONE, owners=1)
    assert Search(bent(SkipsRepeats), bounds).run()
    assert broken(bent(TellsEffects), bounds).invariant in ("I3", "I4")


def test_retention_by_input_and_not_by_the_wall_clock() -> None:
    class ByWallClock(Shard):
        def _read_until_ms(self) -> float:
            return self.now.timestamp() * 1000

    assert broken(bent(ByWallClock), replace(FORGET, late_repeats=ONE, strays=0, owners=1)).invariant == "I3"


def test_no_gap_after_a_failed_append() -> None:
    class GoesOn(World):
        def append_failed(self, owner: Owner) -> None:
            assert owner.shard is not None
            owner.shard.pending.popleft()

    assert broken(GoesOn, Bounds(losses=1, owners=1)).invariant in ("I2", "I3")


def test_timer_records_tell_the_position_of_the_shard() -> None:
    class TimersTellTheirOwn(Shard):
        firing = False

        def _fire(self, key: str, fired: tuple[str, int]) -> None:
            self.firing = True
            super()._fire(key, fired)
            self.firing = False

        def _marks(self, instance: Instance | None = None) -> Marks:
            marks = super()._marks(instance)
            return marks._replace(position=0) if self.firing else marks

    bounds = Bounds(keys=ONE, repeats=ONE, timeout=60, hours=1, compactions=1, slow_acks=False)
    assert broken(bent(TimersTellTheirOwn), bounds).invariant == "I4"


class OldProcess(World):
    """A process without the flow owns the shard; the next one has it."""

    def open_with(self, owner: Owner, restored: Restored) -> None:
        super().open_with(owner, restored)
        if not self.alone and owner.shard is not None:
            owner.shard.rules = self.old_rules()

    def old_rules(self) -> QuietRules:
        flows = Flows([TinyFlow(name="another")])
        return QuietRules(flows, Journal(NAMES, 0), Wire(str, NAMES.inbox, 0, 1))


def test_early_inputs_are_parked_durably() -> None:
    class InMemory(QuietRules):
        def take(
            self, key: str, instance: Instance | None, given: Given, now: datetime, *, free: bool
        ) -> Change | Deflected | None:
            change = super().take(key, instance, given, now, free=free)
            return None if isinstance(change, Change) and change.instance.parked else change

    class ParksInMemory(OldProcess):
        def old_rules(self) -> QuietRules:
            flows = Flows([TinyFlow(name="another")])
            return InMemory(flows, Journal(NAMES, 0), Wire(str, NAMES.inbox, 0, 1))

    class TellsPosition(ParksInMemory):
        """The position is told now and then, so that the next owner begins behind what was parked."""

        def take(self, owner: Owner) -> None:
            super().take(owner)
            assert owner.shard is not None
            owner.shard.tell_position()
            self.perform(owner)

    assert Search(OldProcess, Bounds(keys=ONE)).run()
    assert broken(TellsPosition, Bounds(keys=ONE)).invariant == "I2"


def test_early_events_are_handed_over_to_their_start() -> None:
    class Forgetful(QuietRules):
        def _first(self, key: str, before: Instance | None, given: Given, now: datetime, *, free: bool) -> Any:
            return super()._first(key, None, given, now, free=free)

    class Forgets(World):
        def open_with(self, owner: Owner, restored: Restored) -> None:
            super().open_with(owner, restored)
            if owner.shard is not None:
                owner.shard.rules = Forgetful(
                    Flows([TinyFlow(count=1)]), Journal(NAMES, 0), Wire(str, NAMES.inbox, 0, 1)
                )

    assert broken(Forgets, Bounds(keys=ONE, early=ONE)).invariant in ("I3", "I8")


class SlowReader(World):
    """A restore that reads record by record while the log is compacted below it."""

    def __init__(self, bounds: Bounds) -> None:
        super().__init__(bounds)
        self.read_until: dict[int, int] = {}

    def claimed(self, owner: Owner) -> None:
        owner.fold = Fold()

    def _owner_actions(self, i: int, owner: Owner) -> Iterator[tuple[str, Callable[[World], None]]]:
        yield from super()._owner_actions(i, owner)
        if owner.fold is not None:
            yield f"read {i}", lambda w: w.read(w.own(i))  # type: ignore[attr-defined]

    def copy(self) -> World:
        made = super().copy()
        made.__dict__["read_until"] = dict(self.read_until)
        return made

    def durable_identity(self) -> object:
        return (super().durable_identity(), tuple(self.read_until.items()))

    def read(self, owner: Owner) -> None:
        places = self.read_until
        assert owner.fold is not None
        assert owner.claim is not None
        at = places.get(owner.epoch, 0)
        while at in self.removed:
            at += 1
        if at > owner.claim:  # superseded by a newer claim: fenced
            owner.fold, owner.gone = None, True
            return
        before = owner.fold
        fold = replace(before, records=dict(before.records), claims=dict(before.claims), shut_out=set(before.shut_out))
        fold.take(self.log[at].record())
        owner.fold = fold
        places[owner.epoch] = at + 1
        if at == owner.claim:
            whole = self.fold_to(owner.claim, all_of_it=True)
            if set(fold.records) != set(whole.records):
                raise Violation("I4", f"a restore sees {set(fold.records)}, and the history was {set(whole.records)}")
            self.open_with(owner, fold.restored(owner.pid, owner.claim))

    def purge(self) -> None:
        """Nulls go ``delete.retention.ms`` after the cleaner saw them: a restore that began before begins again."""
        super().purge()
        for i, owner in enumerate(self.owners):
            if owner.fold is not None:
                self.own(i).fold = Fold()
                self.read_until.pop(owner.epoch, None)


def test_restore_within_delete_retention() -> None:
    class NeverBeginsAgain(SlowReader):
        def purge(self) -> None:
            World.purge(self)

    assert Search(SlowReader, replace(FORGET, owners=1)).run()
    assert broken(NeverBeginsAgain, FORGET).invariant == "I4"


def test_ledger_kept_long_enough() -> None:
    class NoLedger(World):
        ledger = False

    # No zombie is needed: a1 is sent and not known to be; it is cancelled; c1 is sent; the next owner sends a1 again.
    violation = broken(NoLedger, Bounds(keys=ONE, cancels=ONE))
    assert violation.invariant == "I6"


class Sequenced(World):
    """A broker that counts: a record with a sequence number it knows is acknowledged again, and not stored."""

    def __init__(self, bounds: Bounds) -> None:
        super().__init__(bounds)
        self.counted: dict[int, int] = {}  # epoch -> its next sequence number
        self.known: dict[tuple[int, int], int] = {}  # (epoch, sequence number) -> offset

    def copy(self) -> World:
        made = super().copy()
        made.__dict__["counted"], made.__dict__["known"] = dict(self.counted), dict(self.known)
        return made

    def durable_identity(self) -> object:
        return (super().durable_identity(), tuple(self.counted.items()))

    def store(self, owner: Owner, write: Write) -> None:
        number = self.counted.get(owner.epoch, 0)
        self.counted[owner.epoch] = number + 1
        if (offset := self.known.get((owner.epoch, number))) is not None:
            owner.acks = (*owner.acks, offset)
        else:
            self.known[owner.epoch, number] = len(self.log)
            super().store(owner, write)


class RebuiltProducer(Sequenced):
    """After a failure it goes on with a new producer object under the same pair: sequences begin at 0 again."""

    def append_failed(self, owner: Owner) -> None:
        assert owner.shard is not None
        self.counted[owner.epoch] = 0
        owner.wire = tuple(Write(each.key, each.value, tuple(each.headers)) for each in owner.shard.pending)


def test_new_epoch_after_any_failure() -> None:
    class Believes(Shard):
        """Takes every acknowledgement for true."""

        def appended(self, offset: int) -> None:
            super().appended(max(offset, self.last + 1))

    bounds = Bounds(keys=ONE, losses=1, owners=1)
    assert Search(Sequenced, bounds).run()
    assert broken(RebuiltProducer, bounds).invariant == "breach"  # an offset that does not exceed the last: it stops
    assert broken(bent(Believes, RebuiltProducer), bounds).invariant in ("I1", "I2", "I3")


NEW_ID = Bounds(keys=ONE, new_ids=1, slow_acks=False)


def test_barrier_for_an_older_producer_id() -> None:
    class NoBarrier(World):
        def claimed(self, owner: Owner) -> None:
            assert owner.claim is not None
            self.open_with(owner, self.fold_to(owner.claim).restored(owner.pid, owner.claim))

    assert broken(NoBarrier, NEW_ID).invariant in ("I3", "breach")


def test_claim_again_after_a_barrier_and_fold_on() -> None:
    class FoldsOnce(World):
        def shut_out(self, owner: Owner, older: Any) -> None:
            assert owner.claim is not None
            restored = self.fold_to(owner.claim).restored(owner.pid, owner.claim)
            owner.wire = tuple(Write(f"{CLAIM}{pid}", None) for pid in older)
            self.open_with(owner, restored)

    assert broken(FoldsOnce, NEW_ID).invariant in ("I3", "breach")


def test_bar_rule_with_unordered_sends() -> None:
    class Unordered(World):
        def _sendable(self, owner: Owner) -> Iterator[int]:
            yield from range(len(owner.out))

    class DoesNotBar(Unordered):
        bars = False

    bounds = Bounds(keys=ONE, cancels=ONE, owners=1)
    assert Search(Unordered, bounds).run()
    assert broken(DoesNotBar, bounds).invariant == "I6"


# ---- the rules of values (docs/adr/0004-values.md)


def test_value_before_its_record() -> None:
    class ValueAfterRecord(Shard):
        def _append_instance(self, change: Change, value: bytes) -> None:
            values = self.values.keep(change.instance, change.values)
            self._append(change.instance.id, value, self._marks(change.instance), change.messages)
            for key, stored in values:
                self._append(key, stored, self._nothing_new())
            self.values.drop(change.instance, change.values)

    assert broken(bent(ValueAfterRecord), VALUES).invariant == "I7"


class TellsAll(Shard):
    """A value and a null tell the position as an instance's record does."""

    def _nothing_new(self) -> Marks:
        return self._marks()


def test_value_without_the_position_of_its_input() -> None:
    assert (
        broken(bent(TellsAll), VALUES).invariant == "I2"
    )  # the start's value lands alone, and the start is never read


def test_value_and_its_null_may_go_without_the_position() -> None:
    class TellsAllInNulls(TellsAll, SkipsRepeats):
        def _append_instance(self, change: Change, value: bytes) -> None:
            position, emitted, _ = self.told
            for key, stored in self.values.keep(change.instance, change.values):
                self._append(key, stored, self._marks()._replace(position=position, emitted=emitted))
            self._append(change.instance.id, value, self._marks(change.instance), change.messages)
            self.values.drop(change.instance, change.values)

    bounds = replace(VALUES, steps=1, late_repeats=ONE, hours=1, owners=1, compactions=1, purges=1)
    assert Search(bent(SkipsRepeats), bounds).run()
    assert broken(bent(TellsAllInNulls), bounds).invariant == "I4"


def test_null_of_a_value_after_the_last_record_that_refers_to_it() -> None:
    class NullFirst(Shard):
        def _append_instance(self, change: Change, value: bytes) -> None:
            self.values.drop(change.instance, change.values)
            self._sweep()
            super()._append_instance(change, value)

    assert broken(bent(NullFirst), VALUES).invariant == "I7"


def test_what_a_crash_leaves_of_values_is_removed() -> None:
    class TrustsTheLog(Shard):
        def _restore(self, restored: Restored) -> None:
            super()._restore(restored)
            self.values.garbage.clear()

    assert broken(bent(TrustsTheLog), VALUES).invariant == "I7"


def bent(shard: type[Shard], world: type[World] = World) -> type[World]:
    """A world whose owners run another shard."""
    return type(shard.__name__, (world,), {"shard_class": shard})


def test_the_model_would_notice_a_breached_fence() -> None:
    """A broker that takes old epochs: the next restore stops with an alarm, or an instance forks."""

    class NoFence(World):
        def land(self, owner: Owner) -> None:
            write, *rest = owner.wire
            owner.wire = tuple(rest)
            self.store(owner, write)

    assert broken(NoFence, Bounds(keys=ONE)).invariant in ("I3", "breach")
