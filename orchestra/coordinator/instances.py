"""Where do a coordinator's instances stand? The read side: it reads state topic and journal, and writes nothing.

What it shows is what is durable now. It takes no part in a shard, so it may run anywhere, at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from pydantic_core import from_json

from orchestra.coordinator.deployed import Flows
from orchestra.coordinator.names import Names
from orchestra.coordinator.record import (
    EARLY,
    EXPIRED,
    POSITION,
    QUEUED,
    RESERVED,
    VALUE,
    VERSIONS,
    Instance,
    Marks,
    decode_instance,
    decode_outbox,
    finished_steps,
    from_headers,
)
from orchestra.coordinator.versions import Known, VersionCount, count_by_version, read_known
from orchestra.errors import DecodeError, TopicError
from orchestra.flows.decision import Status, StepView, split_instance_id
from orchestra.transport.partitioner import partition_for
from orchestra.transport.port import Partition, Record, Transport
from orchestra.transport.tail import read_all

_FINAL = frozenset({EXPIRED, *(status.value for status in Status if status.is_final)})


@dataclass(frozen=True, slots=True)
class Summary:
    """An instance as the headers of its newest record tell it.

    Attributes:
        id: ``<flow>/<percent-encoded business key>``.
        flow: ``<name>/<version>``, or None while no process knew the flow.
        status: as the flow has it, or ``queued`` or ``parked``.
        changed: when its newest record was decided.
        due: when its next timer fires, where that is known.
        shard: the partition of inbox, state and journal.
    """

    id: str
    flow: str | None
    status: str
    changed: datetime
    due: datetime | None
    shard: int

    @property
    def is_live(self) -> bool:
        """Whether there is still something to happen, be it by an operator."""
        return self.status not in _FINAL


@dataclass(frozen=True, slots=True)
class Details:
    """An instance, whole.

    Attributes:
        summary: what the list shows.
        key: the business key.
        version: of its flow; None: unknown to every process so far.
        run: which run it is; a restart from the start is another one.
        begun, finished: recorded times.
        steps: in the order of the flow; empty where the flow's version is unknown here.
        waits_for: in words.
        parked: why its inputs wait for somebody, or None.
        waiting: inputs that are kept until it is not queued or parked any more.
        unsent: messages that are decided and, as far as the log tells, not sent yet.
    """

    summary: Summary
    key: str
    version: int | None
    run: int
    begun: datetime
    finished: datetime | None
    steps: Sequence[StepView]
    waits_for: Sequence[str]
    parked: str | None
    waiting: int
    unsent: int


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One thing that happened, from the journal. ``what`` is a short stable word."""

    at: datetime
    what: str
    step: str | None
    attempt: int | None
    note: str
    status: str


async def list_instances(transport: Transport, names: Names) -> list[Summary]:
    """Every instance that the state topic holds, the most recently changed last; finished ones for as long as they are
    remembered.

    Raises:
        DecodeError: the state topic holds what no coordinator wrote, or a newer one.
        TopicError: the state topic does not exist.
        UnreachableError: brokers were away for longer than the request timeout.
    """
    folded = await fold_shards(transport, names)
    found = [summary_of(key, record) for shard in folded for key, record in shard.newest.items()]
    return sorted(found, key=lambda summary: (summary.changed, summary.id))


async def list_versions(transport: Transport, names: Names) -> tuple[list[VersionCount], Known]:
    """The instances by version, and every version that ever ran here.

    Raises:
        DecodeError, TopicError, UnreachableError: as :func:`list_instances`.
    """
    instances: list[tuple[str, str]] = []
    known: Known = {}
    for shard in range(await _shards(transport, names)):
        fold = await _fold(transport, Partition(names.state, shard))
        known |= fold.versions
        summaries = (summary_of(key, record) for key, record in fold.newest.items())
        instances += ((one.flow or split_instance_id(one.id)[0], one.status) for one in summaries)
    return count_by_version(instances), known


async def fold_shards(transport: Transport, names: Names) -> list[Folded]:
    """What each shard's log says. Raises as :func:`list_instances`."""
    shards = range(await _shards(transport, names))
    return [await _fold(transport, Partition(names.state, shard)) for shard in shards]


async def find_instance(transport: Transport, names: Names, flows: Flows, instance: str) -> Details | None:
    """One instance, or None where there is none, or none any more. Reads only its own shard.

    Raises:
        DecodeError, TopicError, UnreachableError: as :func:`list_instances`.
    """
    shard = partition_for(instance.encode(), await _shards(transport, names))
    fold = await _fold(transport, Partition(names.state, shard))
    record = fold.newest.get(instance)
    return None if record is None else details_of(instance, record, flows, emitted=fold.emitted)


async def read_history(transport: Transport, names: Names, instance: str) -> list[HistoryLine]:
    """What the journal says of an instance, in order, repeats dropped. Empty where its time is over.

    Raises:
        DecodeError, TopicError, UnreachableError: as :func:`list_instances`.
    """
    return [line for entry in await read_journal(transport, names, instance) for line in _lines(entry)]


async def read_journal(transport: Transport, names: Names, instance: str | None = None) -> list[dict[str, Any]]:
    """The journal's entries, of one instance or of all: those of an instance in order, repeats dropped.

    Raises:
        DecodeError, TopicError, UnreachableError: as :func:`list_instances`.
    """
    shards = await _shards(transport, names)
    wanted = range(shards) if instance is None else [partition_for(instance.encode(), shards)]
    entries: dict[tuple[str, datetime, int], dict[str, Any]] = {}
    for shard in wanted:
        for record in await read_all(transport, Partition(names.journal, shard)):
            if record.value is not None and instance in (None, (record.key or b"").decode(errors="replace")):
                entry = from_json(record.value)
                entries[entry["instance"], datetime.fromisoformat(entry["at"]), entry["version"]] = entry
    return [entry for _, entry in sorted(entries.items())]


def summary_of(instance: str, record: Record) -> Summary:
    """The instance in a record of the state topic, without parsing its value."""
    marks = _marks(record)
    return Summary(instance, marks.flow, marks.status or "", marks.now, marks.due, record.partition)


def details_of(instance_id: str, record: Record, flows: Flows, *, emitted: int) -> Details:
    """The instance in a record of the state topic; ``emitted`` is the newest mark of its shard."""
    value = record.value or b""
    try:
        instance = decode_instance(instance_id, value)
    except ValueError as error:
        raise DecodeError("value", f"{record}: {error}") from error
    definition = flows.find(instance.flow, instance.version)
    steps: Sequence[StepView] = ()
    waits_for: Sequence[str] = ()
    if instance.state is not None and definition is not None:
        steps, waits_for = definition.steps(instance.state), definition.waits_for(instance.state)
    elif instance.result is not None:
        steps = finished_steps(instance)
    return Details(
        summary=summary_of(instance_id, record),
        key=split_instance_id(instance_id)[1],
        version=instance.version,
        run=instance.run,
        begun=instance.begun,
        finished=instance.finished,
        steps=steps,
        waits_for=[*_held_up(instance), *waits_for],
        parked=f"{instance.parked.why}: {instance.parked.note}" if instance.parked else None,
        waiting=len(instance.inputs),
        unsent=len(decode_outbox(instance_id, value)) if record.offset > emitted else 0,
    )


def _held_up(instance: Instance) -> list[str]:
    if instance.parked is not None:
        who = "a process that has its version" if instance.parked.why == "version" else "an operator"
        return [f"{who}, since {instance.parked.since.isoformat()}: {instance.parked.note}"]
    if instance.status == EARLY:
        return [f"its start; {len(instance.inputs)} events that came before it are kept for a while"]
    return ["its turn, below max_running"] if instance.status == QUEUED else []


def _lines(entry: Mapping[str, Any]) -> list[HistoryLine]:
    at = datetime.fromisoformat(entry["at"])
    return [
        HistoryLine(at, line["what"], line.get("step"), line.get("attempt"), line.get("note", ""), entry["status"])
        for line in entry["lines"]
    ]


async def _shards(transport: Transport, names: Names) -> int:
    state = (await transport.topics.describe([names.state])).get(names.state)
    if state is None:
        raise TopicError(f"topic {names.state!r} does not exist: coordinator {names.coordinator!r} has never run here")
    return state.partitions


def _marks(record: Record) -> Marks:
    try:
        return from_headers(record.headers)
    except ValueError as error:
        raise DecodeError("headers", f"{record} was written by no coordinator: {error}") from error


class Folded(NamedTuple):
    """A shard's log, folded: the newest record of each instance, the mark up to which all messages are sent, and by key
    the values beside the records."""

    newest: dict[str, Record]
    emitted: int
    versions: Known
    values: dict[str, bytes]


async def _fold(transport: Transport, partition: Partition) -> Folded:
    newest: dict[str, Record] = {}
    emitted = -1
    versions: Known = {}
    values: dict[str, bytes] = {}
    for record in await read_all(transport, partition):
        key = (record.key or b"").decode()
        newest.pop(key, None)
        values.pop(key, None)
        if key.startswith(VALUE) and record.value is not None:
            values[key] = record.value
        if key == VERSIONS:
            versions = read_known(from_json(record.value or b"{}"))
        if record.value is None or (key.startswith(RESERVED) and key != POSITION):
            continue
        emitted = max(emitted, _marks(record).emitted)
        if key != POSITION:
            newest[key] = record
    return Folded(newest, emitted, versions, values)
