"""Was everything as it must be, when a run is over? The invariants of a coordinator and its services.

Each is checked from what stands in the log, with nothing taken from the memory of any process. Why they must hold:
``docs/adr/0001-fenced-log.md``; what they mean to a user: ``docs/how-to/simulate.md``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pydantic_core import from_json

from orchestra.coordinator.advance import Advance
from orchestra.coordinator.coordinator import Coordinator
from orchestra.coordinator.exchange import Change
from orchestra.coordinator.journal import Journal
from orchestra.coordinator.names import Names
from orchestra.coordinator.record import Instance, decode_instance, to_given
from orchestra.coordinator.wire import Wire
from orchestra.events.message import Command, StepFailed, StepRefused, spec_of
from orchestra.flows.decision import StepView
from orchestra.testing.memory_database import all_databases
from orchestra.testing.simulation_run import Director
from orchestra.testing.simulation_watch import Effect, Violation

_UNKNOWN: Final = spec_of(StepFailed).type
_REFUSED: Final = spec_of(StepRefused).type
_NEEDS_A_PERSON: Final = ("stuck", "halted", "parked")
_WAITS_OUTSIDE: Final = frozenset(("wait", "approval", "call", "state"))
"""Kinds of nodes that wait for what only the world can bring."""
_NO_UNDO: Final = frozenset(("read_only", "retriable", "pivot"))
_JOINS: Final = frozenset(("any of", "settled"))
"""Kinds of nodes of which a branch may be undone while the flow goes on, and completes."""
_NOT_IN_TURN: Final = frozenset(
    (
        *("instance.queued", "instance.parked", "instance.released", "input.waits", "operator.restart"),
        *("start.refused", "event.early", "flow.migrated"),
    )
)
"""Journal lines of inputs that were not taken in one by one, as they came."""


def check_all(director: Director) -> None:
    """Raises Violation for the first invariant that does not hold. The world is at rest."""
    _check_ledgers(director)
    for coordinator in director.deployment.coordinators:
        names = director.deployment.names[coordinator.name]
        shards = {number: _read_journal(director, names, number) for number in range(coordinator.partitions)}
        journal = {key: entries for shard in shards.values() for key, entries in shard.items()}
        alerted = {
            from_json(record.value or b"{}").get("instance") for record in director.cluster.records(names.alerts)
        }
        for key, standing in director.watch.standing[coordinator.name].items():
            instance = decode_instance(key, standing.value)
            entries = journal.get(key, [])
            _check_journal(instance, entries)
            _check_replay(director, coordinator, names, standing.shard, instance, entries)
            _check_alert(instance, alerted)
            _check_waiting(coordinator, instance)
        _check_commands(director.watch.effects.values(), journal, coordinator)
        _check_accounts(director, coordinator)


# ---- effects


def _check_ledgers(director: Director) -> None:
    for database in all_databases():
        for effect_id, times in database.times_done.items():
            if times > 1:
                raise Violation("effect done twice", f"{database!r} committed {effect_id} {times} times")
            effect = director.watch.effects.get(effect_id)
            if (
                effect is not None
                and len(known := {data for (type_, data) in effect.answers if _is_outcome(type_)}) > 1
            ):
                raise Violation("two answers to one effect", f"{effect_id}: {sorted(map(str, known))}")


def _is_outcome(type_: str) -> bool:
    """Whether an answer says how it ended, and does not say that this is unknown, or too late."""
    return type_ not in (_UNKNOWN, _REFUSED)


@dataclass(slots=True)
class _Commands:
    """Of each command type that the app handles: what may answer it."""

    replies: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])

    def was_done(self, effect: Effect) -> bool:
        """Whether somebody has said that it was done."""
        replies = self.replies.get(effect.command_type, frozenset())
        return any(type_ in replies for type_, _ in effect.answers)

    def may_be_done(self, effect: Effect) -> bool:
        """Whether nobody has proved that it was not."""
        if self.was_done(effect):
            return True
        replies = self.replies.get(effect.command_type)
        return replies is not None and not any(type_ != _UNKNOWN for type_, _ in effect.answers)


def _commands_of(director: Director) -> _Commands:
    commands = _Commands()
    for service in director.deployment.services:
        for type_, handler in service.commands.items():
            for message in handler.reads.messages:
                if issubclass(message, Command):
                    commands.replies[type_] = frozenset(spec_of(reply).type for reply in spec_of(message).replies)
    return commands


def _check_accounts(director: Director, coordinator: Coordinator) -> None:
    """Completed: nothing of what was done is undone. Compensated: all that was, or may have been, done is undone."""
    commands = _commands_of(director)
    by_flow: dict[str, list[Effect]] = defaultdict(list)
    for effect in director.watch.effects.values():
        by_flow[effect.flow].append(effect)
    for key, standing in director.watch.standing[coordinator.name].items():
        if standing.status not in (b"completed", b"compensated"):
            continue
        instance = decode_instance(key, standing.value)
        views = {view["name"]: StepView(**view) for view in _views(instance)}
        mine = [effect for effect in by_flow.get(key, []) if _run_of(effect.id) == instance.run]
        undone = {_step_of(effect.id) for effect in mine if effect.phase == "undo" and commands.was_done(effect)}
        has_branches = any(view.kind in _JOINS for view in views.values())
        for effect in mine:
            if effect.phase != "action":
                continue
            view = views.get(effect.step)
            if standing.status == b"compensated":
                _check_undone(effect, view, undone, commands)
            elif view is not None and view.status == "done" and _step_of(effect.id) in undone and not has_branches:
                raise Violation("undone, and completed", f"{effect.id} was undone, and {key} is completed")


def _check_undone(effect: Effect, view: StepView | None, undone: set[tuple[str, ...]], commands: _Commands) -> None:
    kind = "" if view is None else view.kind
    if kind == "pivot" and commands.was_done(effect):
        raise Violation("compensated behind the pivot", f"{effect.id} was done, and the instance is compensated")
    if kind in _NO_UNDO or not commands.may_be_done(effect) or _step_of(effect.id) in undone:
        return
    what = "was done" if commands.was_done(effect) else "may have been done"
    raise Violation("not undone", f"{effect.id} {what}, and the instance is compensated")


def _views(instance: Instance) -> Iterator[Any]:
    result: dict[str, Any] = instance.result or {}
    yield from result.get("steps", ())


def _run_of(effect_id: str) -> int:
    return int(effect_id.rsplit("/", 4)[1])


def _step_of(effect_id: str) -> tuple[str, ...]:
    """(step, iteration) of an effect id."""
    _, _, step, _, iteration = effect_id.rsplit("/", 4)
    return step, iteration


# ---- the journal


@dataclass(slots=True)
class _Entry:
    """A journal entry."""

    n: int
    run: int
    at: datetime
    inputs: list[Any]
    lines: list[dict[str, Any]]


def _read_journal(director: Director, names: Names, shard: int) -> dict[str, list[_Entry]]:
    found: dict[str, dict[tuple[str, int], _Entry]] = defaultdict(dict)
    for record in director.cluster.records(names.journal):
        if record.partition == shard and record.value is not None:
            raw = from_json(record.value)
            at = datetime.fromisoformat(raw["at"])
            entry = _Entry(raw["version"], raw["run"], at, raw["inputs"], raw["lines"])
            found[raw["instance"]][raw["at"], raw["version"]] = entry
    return {key: sorted(entries.values(), key=lambda entry: entry.n) for key, entries in found.items()}


def _check_journal(instance: Instance, entries: Sequence[_Entry]) -> None:
    versions = [entry.n for entry in entries]
    if versions != list(range(1, instance.n + 1)):
        raise Violation("hole in the journal", f"{instance.id} has {instance.n} records; the journal tells {versions}")
    taken: Counter[int] = Counter()
    for entry in entries:
        if not _NOT_IN_TURN.intersection(line["what"] for line in entry.lines):
            taken.update(raw["offset"] for raw in entry.inputs if raw.get("offset") is not None)
    if twice := [offset for offset, count in taken.items() if count > 1]:
        raise Violation("input taken in twice", f"{instance.id}: inbox offset {twice[0]}")


def _check_replay(
    director: Director,
    coordinator: Coordinator,
    names: Names,
    shard: int,
    instance: Instance,
    entries: Sequence[_Entry],
) -> None:
    """The journal's inputs, decided again, give the state that stands in the log."""
    if any(line["what"] in _NOT_IN_TURN for entry in entries for line in entry.lines):
        return
    if any(len(entry.inputs) != 1 or entry.run != instance.run for entry in entries):
        return
    rules = Advance(
        coordinator.flows,
        Journal(names, shard),
        Wire(director.settings.topic, names.inbox, shard, coordinator.partitions),
        outcome_bytes=coordinator.outcome_bytes,
        early=coordinator.limits.early,
    )
    again: Instance | None = None
    values: dict[str, bytes] = {}
    for entry in entries:
        given = to_given(entry.inputs[0])
        change = rules.take(instance.id, again, given, entry.at, free=True)
        if not isinstance(change, Change):
            raise Violation("journal and state differ", f"{instance.id}: entry {entry.n} changes nothing when replayed")
        again = change.instance
        values |= {name: value for name, value in change.values.items() if value is not None}
        again.values = values
    if again is None or _essence(again) != _essence(instance):
        told = None if again is None else _essence(again)
        raise Violation(
            "journal and state differ", f"{instance.id}: {told} by its journal, {_essence(instance)} by the log"
        )


def _essence(instance: Instance) -> tuple[object, ...]:
    return instance.status, instance.run, instance.n, instance.state, instance.result


def _check_commands(
    effects: Iterable[Effect], journal: Mapping[str, Sequence[_Entry]], coordinator: Coordinator
) -> None:
    flows = {definition.name for definition in coordinator.definitions}
    for effect in effects:
        if effect.flow.partition("/")[0] not in flows:
            continue
        told = (line.get("effect_id") for entry in journal.get(effect.flow, ()) for line in entry.lines)
        if effect.id not in told:
            raise Violation("command without a journal line", f"{effect.command_type} for {effect.id}")


# ---- what waits


def _check_alert(instance: Instance, alerted: set[Any]) -> None:
    if instance.label in _NEEDS_A_PERSON and instance.id not in alerted:
        raise Violation("nobody was told", f"{instance.id} is {instance.label}, and there is no alert about it")


def _check_waiting(coordinator: Coordinator, instance: Instance) -> None:
    """At rest, nothing is on its way any more, and all timers have fired."""
    if instance.label not in ("running", "compensating", "queued") or instance.state is None:
        if instance.label in ("running", "compensating", "queued"):
            raise Violation("waits for ever", f"{instance.id} is {instance.label}")
        return
    definition = coordinator.flows.find(instance.flow, instance.version)
    assert definition is not None
    steps = definition.steps(instance.state)
    if any(view.kind in _WAITS_OUTSIDE and view.started_at and not view.ended_at for view in steps):
        return
    waits = "; ".join(definition.waits_for(instance.state)) or "nothing"
    raise Violation("waits for ever", f"{instance.id} is {instance.label}, without a timer, and waits for {waits}")
