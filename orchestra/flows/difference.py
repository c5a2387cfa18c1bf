"""What has changed between two versions of a flow, and could running instances follow?

Compared is what the digests are made of: ``Definition.parts``. Timeouts, retries and the code of the flow's methods are
no part of it, and may be changed under the same version.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from orchestra.flows.decision import Json

__all__ = ["Difference", "differences", "obstacles", "plain_parts"]

Parts = Mapping[str, Json]

_MARK = {"added": "+", "removed": "-", "changed": "~"}


@dataclass(frozen=True, slots=True)
class Difference:
    """One part of a flow that is not as it was.

    Attributes:
        part: the node or state; in parentheses what belongs to the whole flow, such as ``(completed)``.
        how: what became of it.
        words: what is different, a line each.
    """

    part: str
    how: Literal["added", "removed", "changed"]
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{_MARK[self.how]} {self.part}: {'; '.join(self.words)}"


def differences(old: Parts, new: Parts) -> list[Difference]:
    """Every part that is not in both as it is, those of the new version in its order, then what is gone."""
    old, new = plain_parts(old), plain_parts(new)
    found = [
        Difference(name, "changed", tuple(_changes(old[name], part)))
        if name in old
        else Difference(name, "added", (_summary(part),))
        for name, part in new.items()
        if old.get(name) != part
    ]
    return found + [Difference(name, "removed", (_summary(part),)) for name, part in old.items() if name not in new]


def obstacles(old: Parts, new: Parts) -> list[str]:
    """Why an instance of the old version could not go on under the new one, a sentence each; none when it could.

    Whatever it has begun, and what that came after, must be in the new version just as it was. What comes on top, and
    what the flow says at its end, may be different.
    """
    return list(_obstacles(plain_parts(old), plain_parts(new)))


def plain_parts(parts: Parts) -> dict[str, dict[str, Any]]:
    """The parts as JSON gives them back, so that stored ones and those of a class compare equal."""
    return cast("dict[str, dict[str, Any]]", json.loads(json.dumps(parts)))


def _obstacles(old: dict[str, dict[str, Any]], new: dict[str, dict[str, Any]]) -> Iterator[str]:
    for name, part in old.items():
        if name in ("(completed)", "(compensated)") or new.get(name) == part:
            continue
        if name == "(flow)":
            yield from _whole(part, new.get(name, {}))
        elif name not in new:
            yield f"{name} is gone, and an instance may have begun it"
        else:
            yield f"{name}, which an instance may have begun: {'; '.join(_changes(part, new[name]))}"


def _whole(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    if old.get("form") != new.get("form"):
        yield f"it was a {old.get('form')}, and is a {new.get('form')}"
    kept = {start["type"] for start in new.get("starts", ())}
    for start in old.get("starts", ()):
        if start["type"] not in kept:
            yield f"it no longer starts on {start['type']}, which an instance keeps"


# ---- words


def _summary(part: Mapping[str, Any]) -> str:
    """A part in a few words: ``step, sends payments.card.charge.v1, needs reserve``."""
    kind = part.get("kind")
    words = [kind if isinstance(kind, str) else str(part.get("form") or "")]
    if isinstance(command := part.get("command"), Mapping):
        words.append(f"sends {command.get('type')}")
    if events := part.get("events"):
        words.append(f"publishes {_told(events)}")
    for field, said in (("needs", "needs"), ("after", "after")):
        if part.get(field):
            words.append(f"{said} {_told(part[field])}")
    return ", ".join(word for word in words if word)


_SAID = {
    "needs": "needs {new} (before: {old})",
    "after": "comes after {new} (before: {old})",
    "kind": "is {new} (before: {old})",
    "form": "is a {new} (before: {old})",
    "starts": "starts on {new} (before: {old})",
    "events": "publishes {new} (before: {old})",
    "command.type": "sends {new} (before: {old})",
    "command.topic": "sends to topic {new} (before: {old})",
    "command.replies": "is answered {new} (before: {old})",
    "command.rejections": "is rejected by {new} (before: {old})",
    "undo.command.type": "is undone by {new} (before: {old})",
    "undo.command.replies": "its undo is answered {new} (before: {old})",
    "undo.command.rejections": "its undo is rejected by {new} (before: {old})",
}


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for field in dict.fromkeys((*old, *new)):
        was, now = old.get(field), new.get(field)
        where = f"{path}{field}"
        if was == now:
            continue
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from _changes(was, now, f"{where}.")
        elif where not in _SAID and isinstance(was, list) and isinstance(now, list):
            yield from (f"{where} without {_told(one)}" for one in was if one not in now)
            yield from (f"{where} with {_told(one)}" for one in now if one not in was)
        elif where == "undo" and (was is None or now is None):
            yield f"is undone now, by {_told(now)}" if was is None else "is no longer undone"
        else:
            yield _SAID.get(where, "{where} is {new} (before: {old})").format(
                where=where, old=_told(was), new=_told(now)
            )


def _told(value: object) -> str:
    if value is None or value == [] or value == "":
        return "nothing"
    if isinstance(value, Mapping):
        inner = cast("Mapping[str, Any]", value)
        if "on" in inner:
            to = f" -> {inner['to']}" if inner.get("to") else ""
            return f"{inner['on']}{to}{', guarded' if inner.get('guarded') else ''}"
        name = inner.get("type") or inner.get("command") or inner.get("events")
        return str(dict(inner)) if name is None else _told(name)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_told(one) for one in cast("Sequence[object]", value))
    return str(value)
