"""Where does an instance in a story stand, and what has happened to it?"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TypeVar

from orchestra.flows.decision import Alert, Json, Status
from orchestra.flows.query import FlowQuery
from orchestra.testing.stage import Played, Stage

T = TypeVar("T")


class Standing:
    """What a test can look at, of one instance on a stage."""

    def __init__(self, stage: Stage, played: Played) -> None:
        self._stage = stage
        self._played = played

    @property
    def status(self) -> Status:
        """Where the instance stands."""
        return self._played.status

    @property
    def alerts(self) -> list[Alert]:
        """All that a person was called for, in order."""
        return list(self._played.alerts)

    @property
    def waits_for(self) -> list[str]:
        """In words, what the instance waits for now."""
        return list(self._played.definition.waits_for(self._json()))

    @property
    def steps(self) -> dict[str, str]:
        """The status of each step, and of each undo that is planned or under way."""
        return {view.name: view.status for view in self._played.definition.steps(self._json())}

    @property
    def states(self) -> list[str]:
        """Of a state machine: the states that it is in, outer ones first."""
        views = self._played.definition.steps(self._json())
        return [view.name for view in views if (view.kind, view.status) == ("state", "running")]

    def query(self, question: FlowQuery[T], /) -> T:
        """What a flow's method under ``@query`` says of the instance now: ``t.query(Refund.progress)``.

        Raises:
            FlowQueryError: as ``bus.query`` does; of an instance that is over its replies are not kept.
        """
        definition, state = self._played.definition, self._json()
        asked = question.of(definition)
        if self.status.is_final:
            return asked.answer_after_end(definition.steps(state), self.status, self.now)
        return asked.answer(definition, state, self.status, self.now)

    @property
    def now(self) -> datetime:
        """The story's time."""
        return self._stage.now

    @property
    def id(self) -> str:
        """The instance's id, ``<flow>/<key>``."""
        return self._played.id

    def story(self) -> str:
        """What has happened so far, as text: ``print(t.story())``."""
        return self._played.narrative.text()

    def __str__(self) -> str:
        return self.story()

    def _json(self) -> Json:
        state: Json = json.loads(self._played.state)
        return state
