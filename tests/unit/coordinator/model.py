"""The world of one shard, as values: a log with a fence, an inbox, services, and owners that run the real ``Shard``.

What may happen is an *action* on a world: an append lands or is refused, an acknowledgement arrives, a record is read,
a message arrives, time passes, the log is compacted. Owners never crash here: one that crashed is one that is never
heard of again, and every search contains the paths on which only the others act. What an owner has under way may thus
land at any later time, also after others took the shard: zombies cost nothing.

The invariants I1 to I7 are those of ``docs/adr/0001-fenced-log.md`` and ``0004-values.md``, I8 is that of events that
come before their start. A :class:`Violation` names the one that broke.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from orchestra.coordinator.advance import Advance
from orchestra.coordinator.deployed import Flows
from orchestra.coordinator.early import TIMER
from orchestra.coordinator.exchange import Append, Change, Deflect, Limits, Restored, Send
from orchestra.coordinator.journal import Journal
from orchestra.coordinator.names import Names
from orchestra.coordinator.outbox import Outbox
from orchestra.coordinator.record import (
    CLAIM,
    RESERVED,
    VALUE,
    Instance,
    OutboxMessage,
    Ref,
    decode_instance,
    decode_outbox,
    from_headers,
    split_value_key,
    value_key,
)
from orchestra.coordinator.restore import Fold
from orchestra.coordinator.roster import Roster
from orchestra.coordinator.shard import Shard
from orchestra.coordinator.values import Values
from orchestra.coordinator.wire import Wire
from orchestra.errors import FenceBreachedError
from orchestra.settings import Settings
from orchestra.transport.port import BARRIER_EPOCH, Record
from tests.unit.coordinator.tiny_flow import (
    DONE,
    REJECTED,
    TinyFlow,
    kept,
    operator_record,
    outcome_record,
    paid_record,
    start_record,
)

NAMES = Names.of("t", Settings())
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Violation(Exception):
    """An invariant does not hold; the history that broke it is in ``path``."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant
        self.path: tuple[str, ...] = ()


class QuietRules(Advance):
    """The rules without journal entries and alerts: they are messages like others, and would double the search."""

    def _change(self, draft: Any) -> Change:
        change = super()._change(draft)
        return change._replace(messages=tuple(m for m in change.messages if m.kind == "command"))


class Stored(NamedTuple):
    """A record of the log, with who wrote it."""

    offset: int
    pid: int
    key: str
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    def record(self) -> Record:
        return Record("t.state", 0, self.offset, 0, self.key.encode(), self.value, self.headers)


class Write(NamedTuple):
    """An append under way."""

    key: str
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(slots=True)
class Owner:
    """One incarnation."""

    pid: int
    epoch: int
    wire: tuple[Write, ...] = ()  # appends under way, in order
    acks: tuple[int, ...] = ()  # stored, and the owner does not know yet
    claim: int | None = None
    fold: Fold | None = None
    shard: Shard | None = None
    out: tuple[OutboxMessage, ...] = ()  # messages under way
    arrived: tuple[OutboxMessage, ...] = ()  # stored, and the owner does not know yet
    gone: bool = False
    known: object = None  # its identity, once it has been asked for: an owner is changed as a fresh copy only

    def copy(self) -> Owner:
        return Owner(
            self.pid, self.epoch, self.wire, self.acks, self.claim, self.fold,
            None if self.shard is None else copy_shard(self.shard), self.out, self.arrived, self.gone,
        )  # fmt: skip

    def identity(self) -> object:
        if self.known is None:
            shard = None if self.shard is None else shard_identity(self.shard)
            fold = None if self.fold is None else (self.fold.position, tuple(self.fold.records))
            self.known = hash((
                self.pid, self.epoch, self.wire, self.acks, self.claim, fold, shard, self.out, self.arrived, self.gone,
            ))  # fmt: skip
        return self.known


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a search goes. ``keys``: one instance each. ``repeats``: starts that come once more, behind all."""

    keys: tuple[str, ...] = ("A", "B")
    steps: int = 1
    timeout: float | None = None
    owners: int = 2
    compactions: int = 0
    purges: int = 0
    hours: int = 0
    repeats: tuple[str, ...] = ()
    late_repeats: tuple[str, ...] = ()  # starts that come once more an hour later
    early: tuple[str, ...] = ()  # an event for these comes before all starts
    cancels: tuple[str, ...] = ()  # an operator cancels these; behind the starts
    strays: int = 0  # outcomes of unknown instances, an hour later
    answers: int = 0  # repeated answers
    losses: int = 0  # appends that fail, or whose outcome stays unknown
    failed_sends: int = 0
    remember: float = 30 * 86400.0
    running: int = 1000
    new_ids: int = 0  # how often the transactional id expires
    values: bool = False  # instances keep values beside their records
    slow_acks: bool = True  # False: whoever sends a message hears at once that it was stored


class World:
    """One state of everything. Subclasses bend one rule each."""

    shard_class: type[Shard] = Shard
    ledger = True
    bars = True
    alone = False

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.log: tuple[Stored, ...] = ()
        self.removed: frozenset[int] = frozenset()
        self.epochs: dict[int, int] = {}
        self.owners: list[Owner] = []
        self.inbox: tuple[Record, ...] = ()
        self.inbox_identity = 0
        self.sent: frozenset[Ref] = frozenset()
        self.effects: dict[str, str] = {}
        self.now = BEGIN
        self.left = {"compact": bounds.compactions, "purge": bounds.purges, "hour": bounds.hours}
        self.left |= {"answer": bounds.answers, "lose": bounds.losses, "fail": bounds.failed_sends}
        self.left |= {"id": bounds.new_ids}
        self.pid = 1
        self.next_epoch = 0
        for key in bounds.early:
            self._put(paid_record(key, len(self.inbox), len(self.inbox)))
        for key in (*bounds.keys, *bounds.repeats):
            self._put(start_record(key, len(self.inbox)))
        for key in bounds.cancels:
            self._put(operator_record(f"tiny/{key}", len(self.inbox), "cancel"))

    def copy(self) -> World:
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made.epochs = dict(self.epochs)
        made.owners = list(self.owners)
        made.effects = dict(self.effects)
        made.left = dict(self.left)
        return made

    def identity(self) -> object:
        return (
            self.durable_identity(), tuple(owner.identity() for owner in self.owners),
            tuple(self.left.items()), self.pid, self.next_epoch,
        )  # fmt: skip

    def durable_identity(self) -> object:
        """What is left when every process is gone."""
        return (self.log, self.removed, self.inbox_identity, self.sent, tuple(sorted(self.effects.items())), self.now)

    def _put(self, record: Record) -> None:
        record.offset = len(self.inbox)
        record.timestamp_ms = int(self.now.timestamp() * 1000)
        self.inbox = (*self.inbox, record)
        self.inbox_identity = hash((self.inbox_identity, record.key, record.timestamp_ms))

    # ---- what may happen next

    def actions(self) -> Iterator[tuple[str, Callable[[World], None]]]:
        """The name of each action that is possible, and what does it to a copy."""
        if len(self.owners) < self.bounds.owners:
            yield "start", lambda w: w.start()
            if self.left["id"] and self.owners:
                yield "start with a new id", lambda w: w.start(new_id=True)
        for number, owner in enumerate(self.owners):
            yield from self._owner_actions(number, owner)
        if self.left["compact"] and self.superseded():
            yield "compact", lambda w: w.compact()
        if self.left["purge"] and self.nulls():
            yield "purge", lambda w: w.purge()
        if self.left["hour"]:
            yield "hour", lambda w: w.hour()

    def _owner_actions(self, i: int, owner: Owner) -> Iterator[tuple[str, Callable[[World], None]]]:
        if owner.wire:
            yield f"land {i}", lambda w: w.land(w.own(i))
        if owner.acks and not owner.gone:
            yield f"ack {i}", lambda w: w.ack(w.own(i))
        if self.left["lose"] and owner.shard is not None and not owner.gone:
            if owner.acks:
                yield f"lose {i}", lambda w: w.lose(w.own(i))
            if owner.wire:
                yield f"drop {i}", lambda w: w.drop(w.own(i))
        yield from self._message_actions(i, owner)
        yield from self._input_actions(i, owner)

    def _message_actions(self, i: int, owner: Owner) -> Iterator[tuple[str, Callable[[World], None]]]:
        for place in self._sendable(owner):
            yield f"arrive {i}.{place}", lambda w, p=place: w.arrive(w.own(i), p)  # type: ignore[misc]
            if self.left["fail"]:
                yield f"fail {i}.{place}", lambda w, p=place: w.fail(w.own(i), p)  # type: ignore[misc]
        if owner.arrived and not owner.gone:
            yield f"sent {i}", lambda w: w.acknowledge(w.own(i))

    def _input_actions(self, i: int, owner: Owner) -> Iterator[tuple[str, Callable[[World], None]]]:
        shard = owner.shard
        if shard is None or shard.dead:
            return
        if self.next_input(shard) is not None:
            yield f"take {i}", lambda w: w.take(w.own(i))
        if self.may_wake(shard):
            yield f"wake {i}", lambda w: w.wake(w.own(i))

    def _sendable(self, owner: Owner) -> Iterator[int]:
        seen: set[str] = set()
        for place, message in enumerate(owner.out):
            if message.ref.instance not in seen:  # in order per instance
                seen.add(message.ref.instance)
                yield place

    # ---- owners

    def own(self, i: int) -> Owner:
        """An owner that may be changed: worlds share those that nothing happens to."""
        self.owners[i] = self.owners[i].copy()
        return self.owners[i]

    def start(self, *, new_id: bool = False) -> None:
        """A new incarnation takes a new identity. It fences nobody yet, and appends its claim."""
        if new_id:
            self.left["id"] -= 1
        if new_id or self.epochs.get(self.pid) == BARRIER_EPOCH:  # shut out: it takes another transactional id
            self.pid, self.next_epoch = self.pid + 1, 0
        owner = Owner(self.pid, self.next_epoch)
        self.next_epoch += 1
        self.owners.append(owner)
        self.begin(owner)

    def begin(self, owner: Owner) -> None:
        owner.wire = (Write(f"{CLAIM}{owner.pid}", b'{"epoch":%d}' % owner.epoch),)

    def land(self, owner: Owner) -> None:
        """The oldest append under way reaches the leader: stored, or refused for its old epoch."""
        write, *rest = owner.wire
        owner.wire = tuple(rest)
        if write.key.startswith(CLAIM) and write.value is None:  # a barrier bears the id that it shuts out
            self.epochs[int(write.key.removeprefix(CLAIM))] = BARRIER_EPOCH
            self.log = (*self.log, Stored(len(self.log), int(write.key.removeprefix(CLAIM)), write.key, None, ()))
            return
        if owner.epoch < self.epochs.get(owner.pid, -1):
            owner.wire = ()
            if owner.shard is not None:
                owner.shard.append_failed()  # it hears "fenced", and gives the shard up
            owner.gone = True
            return
        self.store(owner, write)

    def store(self, owner: Owner, write: Write) -> None:
        self.epochs[owner.pid] = owner.epoch
        stored = Stored(len(self.log), owner.pid, write.key, write.value, write.headers)
        self.log = (*self.log, stored)
        owner.acks = (*owner.acks, stored.offset)
        check_stored(self, stored)

    def ack(self, owner: Owner) -> None:
        offset, *rest = owner.acks
        owner.acks = tuple(rest)
        if owner.claim is None:
            owner.claim = offset
            self.claimed(owner)
        elif owner.shard is not None:
            owner.shard.appended(offset)
            self.perform(owner)

    def lose(self, owner: Owner) -> None:
        """The acknowledgement never comes."""
        self.left["lose"] -= 1
        owner.acks = owner.acks[1:]
        self.append_failed(owner)

    def claimed(self, owner: Owner) -> None:
        """Fold up to the own claim, shut out older ids, and go. Whatever else happens in between is as well before."""
        assert owner.claim is not None
        fold = self.fold_to(owner.claim)
        if older := fold.older_ids(owner.pid):
            self.shut_out(owner, older)
        else:
            check_fold(self, fold, owner.claim)
            self.open_with(owner, fold.restored(owner.pid, owner.claim))

    def shut_out(self, owner: Owner, older: Sequence[int]) -> None:
        """The barriers, and a second claim."""
        owner.claim = None
        owner.wire = (*(Write(f"{CLAIM}{pid}", None) for pid in older), Write(f"{CLAIM}{owner.pid}", b"{}"))

    def drop(self, owner: Owner) -> None:
        """The append fails, and is not stored. Nor is what is under way behind it: the log has no gap, for the broker
        takes sequence numbers in their order only."""
        self.left["lose"] -= 1
        owner.wire = ()
        self.append_failed(owner)

    def append_failed(self, owner: Owner) -> None:
        assert owner.shard is not None
        owner.shard.append_failed()
        owner.gone = True

    def open_with(self, owner: Owner, restored: Restored) -> None:
        owner.fold = None
        owner.shard = self.shard_class(rules(self.bounds), limits(self.bounds), restored, self.now)
        self.perform(owner)

    def fold_to(self, claim: int, *, all_of_it: bool = False) -> Fold:
        fold = Fold()
        for stored in self.log[: claim + 1]:
            if all_of_it or stored.offset not in self.removed:
                fold.take(stored.record())
        return fold

    def perform(self, owner: Owner) -> None:
        """Do what the shard wants done."""
        shard = owner.shard
        assert shard is not None
        outputs, shard.outputs = shard.outputs, []
        for output in outputs:
            if isinstance(output, Append):
                owner.wire = (*owner.wire, Write(output.key, output.value, tuple(output.headers)))
            elif isinstance(output, Send):
                owner.out = (*owner.out, output.message)
            else:
                assert isinstance(output, Deflect)
                shard.deflected()  # stored at once: deflecting has tests of its own

    def next_input(self, shard: Shard) -> Record | None:
        return self.inbox[shard.position + 1] if shard.position + 1 < len(self.inbox) else None

    def take(self, owner: Owner) -> None:
        assert owner.shard is not None
        record = self.next_input(owner.shard)
        assert record is not None
        owner.shard.receive(record, self.now)
        self.perform(owner)

    def may_wake(self, shard: Shard) -> bool:
        due = shard.roster.next_due()
        if (due is not None and due <= self.now) or shard.values.garbage:
            return True
        if not shard.roster.expiries:
            return False
        expiry, key = shard.roster.expiries[0]
        until_ms = shard._read_until_ms() if self.alone else self.now.timestamp() * 1000
        return expiry.timestamp() * 1000 <= until_ms and not shard.outbox.of(key)

    def wake(self, owner: Owner) -> None:
        assert owner.shard is not None
        owner.shard.wake(self.now, most=1)
        self.perform(owner)

    # ---- messages and services

    def arrive(self, owner: Owner, place: int) -> None:
        """A message is stored, and its receiver acts."""
        message = owner.out[place]
        owner.out = (*owner.out[:place], *owner.out[place + 1 :])
        owner.arrived = (*owner.arrived, message)
        check_sent(self, message)
        self.sent |= {message.ref}
        self.serve(message)
        if not self.bounds.slow_acks:
            self.acknowledge(owner)

    def fail(self, owner: Owner, place: int) -> None:
        """A message is not stored, and sent again at some time."""
        self.left["fail"] -= 1
        message = owner.out[place]
        owner.out = (*owner.out[:place], *owner.out[place + 1 :])
        assert owner.shard is not None
        owner.shard.not_sent(message)
        owner.shard.send_again()
        self.perform(owner)

    def acknowledge(self, owner: Owner) -> None:
        message, *rest = owner.arrived
        owner.arrived = tuple(rest)
        if owner.shard is not None and not owner.gone:
            owner.shard.sent(message)
            self.perform(owner)

    def serve(self, message: OutboxMessage) -> None:
        """A service with a ledger: one row per effect; a compensation that comes first bars its action."""
        effect = dict(message.headers)["ce_effectid"]
        assert effect is not None
        name = effect.decode()
        if name in self.effects and self.ledger:
            if self.left["answer"]:
                self.left["answer"] -= 1
                self._answer(name)
            return
        self._act(name)
        self._answer(name)

    def _act(self, effect: str) -> None:
        instance, run, step, _, iteration = effect.rsplit("/", 4)
        if step != "c1":
            self.effects[effect] = "done"
            return
        action = f"{instance}/{run}/a1/action/{iteration}"
        if action in self.effects or self.bars:
            self.effects[action] = "undone" if self.effects.get(action) == "done" else "barred"
        self.effects[effect] = "done"

    def _answer(self, effect: str) -> None:
        kind = REJECTED if self.effects.get(effect) in ("barred", "undone") else DONE
        self._put(outcome_record(effect, len(self.inbox), kind=kind))

    # ---- time and compaction

    def hour(self) -> None:
        self.left["hour"] -= 1
        self.now += HOUR
        for key in self.bounds.late_repeats:
            self._put(start_record(key, len(self.inbox)))
        for number in range(self.bounds.strays):
            self._put(outcome_record(f"tiny/Z/{number}/a1/action/0", len(self.inbox)))

    def superseded(self) -> frozenset[int]:
        newest = {stored.key: stored.offset for stored in self.log}
        return frozenset(s.offset for s in self.log if newest[s.key] != s.offset) - self.removed

    def nulls(self) -> frozenset[int]:
        newest = {stored.key: stored.offset for stored in self.log}
        nulls = frozenset(s.offset for s in self.log if s.value is None and newest[s.key] == s.offset)
        return nulls - self.removed if not self.superseded() else frozenset()

    def compact(self) -> None:
        self.left["compact"] -= 1
        self.removed |= self.superseded()

    def purge(self) -> None:
        self.left["purge"] -= 1
        self.removed |= self.nulls()

    # ---- what must hold when one owner goes on alone

    def finish_alone(self) -> None:
        """All processes are gone; a new owner takes the shard, and everything ends."""
        world = self.copy()
        world.alone = True
        world.owners = []
        world.left = dict.fromkeys(world.left, 0)
        world.start()
        for _ in range(500):
            if not world._step_alone():
                break
        else:
            raise Violation("I2", "it never comes to rest")
        check_end(world)

    def _step_alone(self) -> bool:
        for name, action in self.actions():
            if name != "start":
                action(self)
                return True
        shard = self.owners[0].shard
        due = shard.roster.next_due() if shard is not None else None
        if due is not None and due > self.now:
            self.now = due
            return True
        return False


# ---- the invariants


@cache
def introduced(key: str, value: bytes | None) -> tuple[Ref, ...]:
    """The messages that a record is the first to hold."""
    if value is None or key.startswith("!"):
        return ()
    return tuple(message.ref for message in decode_outbox(key, value) if message.first is None)


def check_stored(world: World, stored: Stored) -> None:
    """I3: one line of records per instance, each input once. I5: nothing below the mark is unsent."""
    if stored.key.startswith(CLAIM):
        return
    check_values(world, stored)
    marks = from_headers(stored.headers)
    for other in world.log[: marks.emitted + 1]:
        if missing := [ref for ref in introduced(other.key, other.value) if ref not in world.sent]:
            raise Violation("I5", f"the mark {marks.emitted} of {stored.offset} passes over {missing}")
    if stored.key.startswith("!") or stored.value is None:
        return
    instance = decode_instance(stored.key, stored.value)
    before = _of_one_life([other for other in world.log[: stored.offset] if other.key == stored.key])
    check_early(stored, instance, before)
    if any(other.value is None for other in before):
        raise Violation("I3", f"{stored.key} begins again after it was forgotten")
    if instance.n != len(before) + 1:
        raise Violation("I3", f"{stored.key}: version {instance.n} is record number {len(before) + 1}: a fork")
    seen = (instance.state or {}).get("seen") or []
    if len(set(seen)) != len(seen):  # type: ignore[arg-type]
        raise Violation("I3", f"{stored.key} took an input twice")


def _of_one_life(records: list[Stored]) -> list[Stored]:
    """Without what was kept for a start that never came: that is forgotten, and was no instance."""
    for place, stored in enumerate(records):
        if stored.value is None and place and b'"status":"expired"' in (records[place - 1].value or b""):
            return _of_one_life(records[place + 1 :])
    return records


def check_early(stored: Stored, instance: Instance, before: list[Stored]) -> None:
    """I8: an event that is kept stays until its flow has it, or its time is over."""
    if not before or before[-1].value is None:
        return
    last = decode_instance(stored.key, before[-1].value)
    due = {timer.generation: timer.due for timer in last.timers if timer.name == TIMER}
    has = [given.offset for given in instance.inputs]
    taken: Any = (instance.state or {}).get("events", ())
    now = from_headers(stored.headers).now
    for given in last.inputs:
        if given.kind != "event" or given.offset in has or given.event.id in taken:
            continue
        until = due.get(given.offset or 0)
        if until is None or now < until:
            raise Violation("I8", f"{stored.key} has lost the event at inbox offset {given.offset}")


def check_values(world: World, stored: Stored) -> None:
    """I7: what the newest record of an instance refers to is stored, before it and as long as it is the newest."""
    key = split_value_key(stored.key)[0] if stored.key.startswith(VALUE) else stored.key
    if key.startswith(RESERVED):
        return
    newest = {other.key: other.value for other in world.log}
    if (value := newest.get(key)) is None:
        return
    instance = decode_instance(key, value)
    for name in kept(instance.state):
        if newest.get(value_key(key, instance.run, name)) is None:
            raise Violation("I7", f"{stored.offset}: {key} refers to {name}, which is not stored")


def check_sent(world: World, message: OutboxMessage) -> None:
    """I1: no message leaves whose record is not durable."""
    if not any(message.ref in introduced(stored.key, stored.value) for stored in world.log):
        raise Violation("I1", f"{message.ref} was sent, and no record of it is durable")


def check_fold(world: World, fold: Fold, claim: int) -> None:
    """I4: compaction changes nothing that a restore sees."""
    whole = world.fold_to(claim, all_of_it=True)
    if fold.position != whole.position:
        raise Violation("I4", f"the position fell from {whole.position} to {fold.position}")
    seen, history = ({key: value[0] for key, value in each.records.items()} for each in (fold, whole))
    if seen != history:
        raise Violation("I4", f"a restore sees {seen}, and the history was {history}")
    if fold.values != whole.values:
        raise Violation("I4", f"a restore sees the values {set(fold.values)}, and there were {set(whole.values)}")


def check_end(world: World) -> None:
    """I2: every message of a durable record was sent, every instance finished. I6, I7: no effect, no value is left."""
    for stored in world.log:
        if lost := [ref for ref in introduced(stored.key, stored.value) if ref not in world.sent]:
            raise Violation("I2", f"never sent: {lost}")
    fold = world.fold_to(len(world.log) - 1, all_of_it=True)
    started = {f"tiny/{key}" for key in world.bounds.keys}
    known = {stored.key for stored in world.log}
    if missing := started - known:
        raise Violation("I2", f"never began: {missing}")
    for key, (_, _, value) in fold.records.items():
        instance = decode_instance(key, value)
        if instance.finished is None:
            raise Violation("I2", f"{key} never finishes: {instance.status}, {instance.state}")
        check_effects(world, key, instance.status)
    if fold.values:
        raise Violation("I7", f"nobody refers to {set(fold.values)}, and they stay")


def check_effects(world: World, key: str, status: str) -> None:
    if status != "compensated":
        return
    for effect, state in world.effects.items():
        if effect.startswith(f"{key}/") and "/c1/" not in effect and state == "done":
            raise Violation("I6", f"{key} is compensated, and {effect} stays done")


# ---- the search


@dataclass(slots=True)
class Search:
    """All worlds within the bounds, depth first or breadth first, each looked at once."""

    world: type[World]
    bounds: Bounds
    most: int = 1_000_000
    breadth_first: bool = False
    worlds: int = 0
    finished: set[int] = field(default_factory=set[int])

    def run(self) -> int:
        """How many worlds there are. Raises Violation; its ``path`` is the history (the shortest, breadth first)."""
        first = self.world(self.bounds)
        seen = {hash(first.identity())}
        queue: deque[tuple[World, tuple[str, ...]]] = deque([(first, ())])
        while queue:
            world, path = queue.popleft() if self.breadth_first else queue.pop()
            self.worlds += 1
            if self.worlds > self.most:
                raise RuntimeError(f"more than {self.most} worlds")
            self._look(world, path)
            for name, action in world.actions():
                after = world.copy()
                self._try(lambda after=after, action=action: action(after), (*path, name))  # type: ignore[misc]
                identity = hash(after.identity())
                if identity not in seen:
                    seen.add(identity)
                    queue.append((after, (*path, name)))
        return self.worlds

    def _look(self, world: World, path: tuple[str, ...]) -> None:
        durable = hash(world.durable_identity())
        if durable not in self.finished:
            self.finished.add(durable)
            self._try(world.finish_alone, (*path, "alone"))

    def _try(self, call: Callable[[], None], path: tuple[str, ...]) -> None:
        try:
            call()
        except Violation as violation:
            violation.path = path
            raise
        except FenceBreachedError as error:
            violation = Violation("breach", str(error))
            violation.path = path
            raise violation from error


# ---- copies and identities of the real shard


@cache
def rules(bounds: Bounds) -> QuietRules:
    flow = TinyFlow(count=bounds.steps, timeout=bounds.timeout, keeps=bounds.values)
    return QuietRules(Flows([flow]), Journal(NAMES, 0), Wire(str, NAMES.inbox, 0, 1))


@cache
def limits(bounds: Bounds) -> Limits:
    return Limits(max_running=bounds.running, remember=bounds.remember, partitions=1)


def copy_shard(shard: Shard) -> Shard:
    made = object.__new__(type(shard))
    made.__dict__.update(shard.__dict__)
    made.pending = deque(shard.pending)
    made.outputs = []
    made.roster = _copy_roster(shard.roster)
    made.outbox = _copy_outbox(shard.outbox)
    made.values = _copy_values(shard.values)
    return made


def _copy_values(values: Values) -> Values:
    made = Values.__new__(Values)
    made.by_instance = {key: of._replace(stored=dict(of.stored)) for key, of in values.by_instance.items()}
    made.garbage = values.garbage.copy()
    return made


def _copy_outbox(outbox: Outbox) -> Outbox:
    made = Outbox.__new__(Outbox)
    made.by_instance = outbox.by_instance.copy()
    made.unsent = outbox.unsent.copy()
    made.in_flight = outbox.in_flight.copy()
    made.held = outbox.held.copy()
    return made


def _copy_roster(roster: Roster) -> Roster:
    made = Roster.__new__(Roster)
    made.entries = roster.entries.copy()
    made.alarms = roster.alarms.copy()
    made.expiries = roster.expiries.copy()
    made.queue = roster.queue.copy()
    made.running = roster.running
    made.early = roster.early
    return made


def shard_identity(shard: Shard) -> object:
    return (
        shard.claim, shard.last, shard.position, shard.durable, shard.emitted, shard.dead, shard.input_ms,
        tuple((append.key, append.value) for append in shard.pending),
        tuple(shard.outbox.unsent.items()), frozenset(shard.outbox.in_flight), frozenset(shard.outbox.held),
        tuple((key, entry.value, entry.due) for key, entry in sorted(shard.roster.entries.items())),
        tuple(sorted(shard.outbox.by_instance)), tuple(shard.values.garbage),
        tuple((key, of.run, tuple(of.stored)) for key, of in shard.values.by_instance.items()),
    )  # fmt: skip


def describe(world: World) -> Sequence[str]:
    """The log, for a person."""
    lines: list[str] = []
    for stored in world.log:
        body = "null" if stored.value is None else ""
        if stored.value is not None and not stored.key.startswith("!"):
            instance = decode_instance(stored.key, stored.value)
            body = f"n={instance.n} {instance.status} at={(instance.state or {}).get('at')}"
            body += f" outbox={[(m.ref.n, m.first) for m in decode_outbox(stored.key, stored.value)]}"
        headers = {name.removeprefix("orchestra-"): (value or b"").decode() for name, value in stored.headers}
        lines.append(f"{stored.offset}: {stored.key} {body} {headers.get('position')} {headers.get('emitted')}")
    return lines
