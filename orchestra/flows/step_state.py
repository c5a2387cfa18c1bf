"""What is known about one step of an instance? Its action, and its undo once that is planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestra.flows.decision import Json
from orchestra.flows.effect import Effect, Phase
from orchestra.flows.progress import PROGRESS, Progress, Undoing, undoing_of


def undo_of(state: StepState) -> Effect:
    """A planned undo. A service's ledger finds the action by the undo's effect id: only the phase differs."""
    return Effect(iteration=state.action.iteration)


@dataclass(slots=True)
class StepState:
    """A step that has begun: its action, and its undo once that is planned."""

    action: Effect = field(default_factory=Effect)
    undo: Effect | None = None

    @property
    def progress(self) -> Progress:
        return PROGRESS[self.action.status]

    @property
    def undoing(self) -> Undoing:
        return undoing_of(None if self.undo is None else self.undo.status)

    def dump(self) -> Json:
        raw = self.action.dump()
        if self.undo is not None:
            raw["u"] = self.undo.dump()
        return raw

    @classmethod
    def load(cls, raw: Mapping[str, Any]) -> StepState:
        undo = raw.get("u")
        return cls(Effect.load(raw), None if undo is None else Effect.load(undo))

    def effect(self, phase: Phase) -> Effect | None:
        return self.action if phase == "action" else self.undo
