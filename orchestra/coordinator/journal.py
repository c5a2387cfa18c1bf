"""How is what happened to an instance told to people? Journal entries, alerts and dead letters, as messages. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from pydantic_core import to_json

from orchestra.coordinator.letters import coordinator_letter
from orchestra.coordinator.names import Names
from orchestra.coordinator.record import Given, Instance, OutboxMessage, Ref, from_given
from orchestra.coordinator.taking import Letter
from orchestra.events.attributes import JSON, format_time
from orchestra.flows.decision import Alert, JournalLine
from orchestra.transport.port import Record

ADVANCED = b"orchestra.instance.advanced.v1"
ALERTED = b"orchestra.instance.alerted.v1"
_JSON = JSON.encode()


class Journal:
    """Composes what one shard tells."""

    def __init__(self, names: Names, shard: int) -> None:
        self._names = names
        self._shard = shard
        self._source = f"/coordinators/{names.coordinator}".encode()

    def entry(
        self,
        instance: Instance,
        given: Sequence[Given],
        lines: Sequence[JournalLine],
        sent: Sequence[Mapping[str, object]],
        now: datetime,
        ref: Ref,
    ) -> OutboxMessage:
        """One per record of the instance: (instance, version) is its identity. ``sent``: a trace of its messages."""
        data: dict[str, object] = {
            "instance": instance.id,
            "version": instance.n,
            "run": instance.run,
            "flow": instance.flow,
            "flow_version": instance.version,
            "status": instance.label,
            "at": now.isoformat(),
            "inputs": [from_given(each) for each in given],
            "lines": [_without_blanks(line) for line in lines],
            "sent": list(sent),
        }
        if instance.parked is not None:
            data["parked"] = instance.parked.why
        if instance.result is not None:
            data["result"] = instance.result
        event_id = f"{instance.id}/{instance.run}/{instance.n}"
        return self._message(ref, ADVANCED, "journal", self._names.journal, event_id, data, now, self._shard)

    def alert(self, instance: Instance, alert: Alert, now: datetime, ref: Ref) -> OutboxMessage:
        """Something that a person must look at."""
        data = {
            "instance": instance.id,
            "flow": instance.flow,
            "flow_version": instance.version,
            "status": instance.label,
            "code": alert.code,
            "step": alert.step,
            "note": alert.note,
            "at": now.isoformat(),
        }
        event_id = f"{instance.id}/{instance.run}/{ref.n}/{ref.place}"
        return self._message(ref, ALERTED, "alert", self._names.alerts, event_id, data, now)

    @property
    def source(self) -> str:
        """Of what the coordinator says by itself."""
        return self._source.decode()

    def dead_letter(self, letter: Letter, now: datetime, ref: Ref) -> OutboxMessage:
        """An input that is nobody's, or not what it should be, as it came."""
        given = letter.given
        record = Record(
            self._names.inbox, self._shard, given.offset or 0, given.time_ms, given.key, given.value, given.headers
        )
        out = coordinator_letter(self._names, record, reason=letter.reason, error=letter.error, now=now)
        letter_id = f"{self._names.inbox}/{self._shard}/{given.offset}"
        return OutboxMessage(
            ref,
            letter_id,
            "dead-letter",
            out.topic,
            out.key,
            out.value,
            tuple(out.headers),
            timestamp_ms=out.timestamp_ms,
        )

    def shard_alert(self, code: str, note: str, now: datetime) -> OutboxMessage:
        """An alert about the shard itself."""
        name = f"{self._names.group}/{self._shard}"
        data = {"coordinator": self._names.coordinator, "shard": self._shard, "code": code, "note": note}
        event_id = f"{name}/{code}/{now.isoformat()}"
        ref = Ref(name, 0, 0)
        return self._message(ref, ALERTED, "alert", self._names.alerts, event_id, data | {"at": now.isoformat()}, now)

    def _message(
        self,
        ref: Ref,
        event_type: bytes,
        kind: Literal["journal", "alert"],
        topic: str,
        event_id: str,
        data: Mapping[str, object],
        now: datetime,
        partition: int | None = None,
    ) -> OutboxMessage:
        instance = ref.instance.encode()
        headers = (
            ("ce_specversion", b"1.0"),
            ("ce_id", event_id.encode()),
            ("ce_source", self._source),
            ("ce_type", event_type),
            ("ce_subject", instance),
            ("ce_time", format_time(now).encode()),
            ("ce_flowid", instance),
            ("content-type", _JSON),
        )
        return OutboxMessage(ref, event_id, kind, topic, instance, to_json(data), headers, partition)


def _without_blanks(line: JournalLine) -> dict[str, object]:
    fields = {
        "what": line.what,
        "step": line.step,
        "effect_id": line.effect_id,
        "attempt": line.attempt,
        "note": line.note,
    }
    return {name: value for name, value in fields.items() if value not in (None, "")}
