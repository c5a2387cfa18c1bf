"""How far is a node, and its undoing, whatever kind of node it is? Read from its status, without decoding the rest."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Progress(StrEnum):
    """How far a node is."""

    ACTIVE = "active"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Undoing(StrEnum):
    """How far the undoing of a node is."""

    NONE = "none"
    PLANNED = "planned"
    ACTIVE = "active"
    STUCK = "stuck"
    FINISHED = "finished"


OVER = (Undoing.NONE, Undoing.FINISHED)
"""Nothing is left to undo."""

PROGRESS: Mapping[str, Progress] = {
    "running": Progress.ACTIVE,
    "backing-off": Progress.ACTIVE,
    "waiting": Progress.ACTIVE,
    "done": Progress.DONE,
    "omitted": Progress.DONE,
    "rejected": Progress.FAILED,
    "refused": Progress.FAILED,
    "unknown": Progress.FAILED,
    "timed-out": Progress.FAILED,
    "failed": Progress.FAILED,
    "cancelled": Progress.CANCELLED,
}
"""Of a node with each status. Every kind of node takes its words from here."""
_UNDOING: Mapping[str, Undoing] = {
    "planned": Undoing.PLANNED,
    "running": Undoing.ACTIVE,
    "backing-off": Undoing.ACTIVE,
    "stuck": Undoing.STUCK,
}


def progress_of(status: str) -> Progress:
    """Of a node with this status. Every kind of node takes its words from here."""
    return PROGRESS[status]


def undoing_of(status: str | None) -> Undoing:
    """Of a node whose undoing has this status; None: there is nothing to undo, so far."""
    return Undoing.NONE if status is None else _UNDOING.get(status, Undoing.FINISHED)


def progress_in(raw: Mapping[str, Any]) -> Progress:
    """Of a node's state as JSON: its status is under ``s``."""
    return PROGRESS[raw["s"]]


def is_under_way(raw: Mapping[str, Any]) -> bool:
    """Of a node's state as JSON: whether it is active, or its undoing is neither absent nor over."""
    undo = raw.get("u")
    return PROGRESS[raw["s"]] is Progress.ACTIVE or (undo is not None and undo["s"] in _UNDOING)


def undoing_in(raw: Mapping[str, Any]) -> Undoing:
    """Likewise: the undoing's status is under ``s`` of ``u``."""
    undo = raw.get("u")
    return Undoing.NONE if undo is None else _UNDOING.get(undo["s"], Undoing.FINISHED)
