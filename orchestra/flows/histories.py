"""Would another version have decided as the recorded one did? Journals, run once more.

A journal's entries hold every input of an instance, when it was decided, and a trace of what was sent. They are given
to a definition in the same order and at the same recorded times; the first difference of each instance is told. Nothing
is sent, and nothing is waited for.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, cast

from orchestra.errors import DecodeError
from orchestra.events.cloudevents import decode
from orchestra.events.envelope import Envelope
from orchestra.flows.decision import (
    Decision,
    Definition,
    Emission,
    Input,
    Json,
    Occurred,
    OperatorRequest,
    Outcome,
    Status,
    TimerFired,
)

__all__ = ["Compared", "Divergence", "History", "compare", "read_histories", "trace"]


def trace(emission: Emission) -> Json:
    """What a journal keeps of a message: enough to see whether another decision says the same."""
    event = emission.event
    effect = event.get("effectid")
    place = event.get("flowstep") if effect is None else "/".join(effect.rsplit("/", 3)[-3:])
    digest = hashlib.blake2b(event.data or b"", digest_size=8).hexdigest()
    return {"type": event.type, "place": place, "digest": digest}


class Entry(NamedTuple):
    """One entry of the journal. ``sent`` None: it was written before messages were traced."""

    n: int
    run: int
    at: datetime
    status: str
    parked: str | None
    inputs: tuple[Mapping[str, Any], ...]
    words: frozenset[str]
    sent: tuple[Json, ...] | None


@dataclass(frozen=True, slots=True)
class History:
    """What the journal holds of one instance, in order."""

    instance: str
    flow: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first place at which another version goes another way.

    Attributes:
        entry: the number of the journal's entry.
        at: when it was decided.
        given: the input, in a few words.
        what: ``messages``, ``status`` or ``exception``.
        words: what is different, in a sentence.
    """

    entry: int
    at: datetime
    given: str
    what: Literal["messages", "status", "exception"]
    words: str


@dataclass(frozen=True, slots=True)
class Compared:
    """One history, run once more. ``skipped``: why it could not be."""

    instance: str
    inputs: int
    divergence: Divergence | None = None
    skipped: str | None = None


def read_histories(lines: Iterable[str]) -> list[History]:
    """The histories in an export of the journal: one entry a line, repeats dropped.

    Raises:
        DecodeError: a line is no entry of a journal.
    """
    found: dict[str, dict[int, Entry]] = {}
    flows: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            raw, entry = _read(number, line)
            found.setdefault(raw["instance"], {})[entry.n] = entry
            flows[raw["instance"]] = raw["flow"]
    return [
        History(instance, flows[instance], tuple(entry for _, entry in sorted(entries.items())))
        for instance, entries in found.items()
    ]


def _read(number: int, line: str) -> tuple[dict[str, Any], Entry]:
    try:
        raw: dict[str, Any] = json.loads(line)
        sent = raw.get("sent")
        return raw, Entry(
            raw["version"],
            raw["run"],
            datetime.fromisoformat(raw["at"]),
            raw["status"],
            raw.get("parked"),
            tuple(raw["inputs"]),
            frozenset(line["what"] for line in raw["lines"]),
            None if sent is None else tuple(sent),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DecodeError("line", f"{number} is no entry of a journal: {type(error).__name__}: {error}") from None


def compare(history: History, definition: Definition) -> Compared:
    """One history under a definition. Stops at the first difference."""
    replay = _Replay(history, definition)
    try:
        divergence = replay.first_divergence()
    except _SkippedError as skipped:
        return Compared(history.instance, replay.inputs, skipped=str(skipped))
    return Compared(history.instance, replay.inputs, divergence)


class _SkippedError(Exception):
    """It cannot be run once more, or no further."""


_WAITS = frozenset({"input.waits", "instance.queued"})


class _Replay:
    """One instance, run once more."""

    def __init__(self, history: History, definition: Definition) -> None:
        self._history = history
        self._definition = definition
        self._last: Decision | None = None
        self._start: Envelope | None = None
        self._values: dict[str, bytes] = {}
        self.inputs = 0

    def first_divergence(self) -> Divergence | None:
        entries = self._history.entries
        if not entries or entries[0].n != 1:
            raise _SkippedError("the journal no longer holds its beginning")
        decided_in = {_identity(raw): index for index, entry in enumerate(entries) for raw in entry.inputs}
        for index, entry in enumerate(entries):
            # What waited for its turn stands in several entries: it was decided in the last of them.
            inputs = [raw for raw in entry.inputs if decided_in[_identity(raw)] == index]
            if not entry.words & _WAITS and (found := self._entry(entry, inputs)) is not None:
                return found
        return None

    def _entry(self, entry: Entry, inputs: Sequence[Mapping[str, Any]]) -> Divergence | None:
        sent: list[Json] = []
        given, raised = "", None
        for raw in inputs:
            is_unparking = raw is entry.inputs[0] and "instance.released" in entry.words
            try:
                decision = self._decide(entry, raw, is_unparking=is_unparking)
            except _SkippedError:
                raise
            except Exception as error:  # a flow's own method, or an input that this version does not take
                given, raised = _told(raw), error
                continue
            if decision is not None:
                given = _told(raw)
                self.inputs += 1
                sent += map(trace, decision.messages)
        return self._difference(entry, given, sent, raised) if given else None

    def _decide(self, entry: Entry, raw: Mapping[str, Any], *, is_unparking: bool) -> Decision | None:
        """What follows from an input; None where the flow was not asked."""
        if raw.get("omitted"):
            raise _SkippedError(f"entry {entry.n}: an input was too large for the journal")
        kind, event = raw["kind"], _event(raw)
        if kind == "start" or event is None:
            return self._timer(entry, raw) if event is None else self._begin(entry, event)
        request = OperatorRequest(**_request(event)) if kind == "operator" else None
        if request is not None and is_unparking and request.action in ("retry", "skip"):
            return None
        if request is not None and request.action == "restart":
            return self._begin_again(entry)
        if self._last is None or (self._last.status.is_final and (request is None or request.action != "undo")):
            return None
        if kind == "event":
            is_start = self._start is not None and event.id == self._start.id
            return None if is_start else self._advance(Occurred(event), entry)
        return self._advance(request or Outcome(event.get("effectid") or "", event), entry)

    def _begin(self, entry: Entry, event: Envelope) -> Decision | None:
        if self._last is not None:
            return None
        self._start = event
        return self._start_at(entry, event)

    def _begin_again(self, entry: Entry) -> Decision | None:
        if "operator.restart" not in entry.words or self._last is None:
            return None
        event = self._definition.start_event(self._state(), values=self._values.__getitem__)
        self._values.clear()
        return self._start_at(entry, event)

    def _start_at(self, entry: Entry, event: Envelope) -> Decision:
        instance = self._history.instance
        return self._keep(self._definition.start(event, instance_id=instance, run=entry.run, now=entry.at))

    def _timer(self, entry: Entry, raw: Mapping[str, Any]) -> Decision | None:
        if self._last is None or self._last.status.is_final:
            return None
        name, generation = raw["timer"]
        # Generations are counted per instance: another version may count otherwise, and mean the same timer.
        pending = {timer.name: timer.generation for timer in self._last.timers}
        return self._advance(TimerFired(name, pending.get(name, int(generation))), entry)

    def _advance(self, given: Input, entry: Entry) -> Decision:
        values = self._values.__getitem__
        return self._keep(self._definition.advance(self._state(), given, now=entry.at, values=values))

    def _state(self) -> Json:
        assert self._last is not None
        state: Json = json.loads(json.dumps(self._last.state))
        return state

    def _keep(self, decision: Decision) -> Decision:
        self._last = decision
        for name, value in decision.values.items():
            if value is None:
                self._values.pop(name, None)
            else:
                self._values[name] = value
        return decision

    # ---- the difference

    def _difference(
        self, entry: Entry, given: str, sent: Sequence[Json], raised: Exception | None
    ) -> Divergence | None:
        def diverged(what: Literal["messages", "status", "exception"], words: str) -> Divergence:
            return Divergence(entry.n, entry.at, given, what, words)

        was_refused = "input.rejected" in entry.words
        if raised is not None and entry.parked != "raised" and not was_refused:
            return diverged("exception", f"now it raises {type(raised).__name__}: {raised}")
        if raised is None and entry.parked == "raised":
            return diverged("exception", "then it raised, and now it does not")
        if raised is None and was_refused and len(entry.inputs) == 1:
            return diverged("exception", "then the input was refused, and now it is taken")
        if entry.sent is not None and (words := list(_changed(entry.sent, sent))):
            return diverged("messages", "; ".join(words))
        status = None if self._last is None else str(self._last.status)
        if entry.parked is None and entry.status in set(Status) and status != entry.status:
            return diverged("status", f"then it was {entry.status}, and now it is {status}")
        return None


def _changed(then: Sequence[Json], now: Sequence[Json]) -> Iterator[str]:
    """What was sent then and is not now, and the other way round; the order does not count."""
    before, after = Counter(map(_key, then)), Counter(map(_key, now))
    gone, new = before - after, after - before
    other = {key[:2] for key in gone} & {key[:2] for key in new}
    for kind, place, _ in gone:
        yield f"{kind} ({place}) has another content" if (kind, place) in other else f"{kind} ({place}) is not sent"
    for kind, place, _ in new:
        if (kind, place) not in other:
            yield f"{kind} ({place}) is sent"


def _key(sent: Json) -> tuple[object, object, object]:
    return sent["type"], sent["place"], sent["digest"]


# ---- inputs, as the journal has them


def _identity(raw: Mapping[str, Any]) -> tuple[object, ...]:
    return ("timer", *raw["timer"]) if "timer" in raw else ("offset", raw["offset"])


def _told(raw: Mapping[str, Any]) -> str:
    if "timer" in raw:
        return f"the timer {raw['timer'][0]}"
    event = _event(raw)
    if event is None:
        return str(raw["kind"])
    return f"an operator's {_request(event)['action']}" if raw["kind"] == "operator" else event.type


def _event(raw: Mapping[str, Any]) -> Envelope | None:
    if "timer" in raw or raw.get("omitted"):
        return None
    return decode([(name, _bytes(value)) for name, value in raw["headers"]], _bytes(raw["value"]))


def _request(event: Envelope) -> dict[str, Any]:
    request: dict[str, Any] = json.loads(event.data or b"{}")
    return request | {"roles": tuple(request.get("roles", ()))}


def _bytes(value: object) -> bytes | None:
    """As the journal writes bytes: text, or a list of one text in base64."""
    if value is None or isinstance(value, str):
        return None if value is None else value.encode()
    return b64decode(cast("list[str]", value)[0])
