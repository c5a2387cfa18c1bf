"""A flow with a bug in it, for a simulation to find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestra.flows.decision import Decision, Definition


class Mutant:
    """Everything that another definition is, but that each decision is altered before anybody sees it.

    Give it to ``Coordinator(flows=[...])`` in the place of the flow.
    """

    def __init__(self, definition: Definition, alter: Callable[[Decision], Decision]) -> None:
        self._definition = definition
        self._alter = alter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._definition, name)

    def start(self, *arguments: Any, **named: Any) -> Decision:
        return self._alter(self._definition.start(*arguments, **named))

    def advance(self, *arguments: Any, **named: Any) -> Decision:
        return self._alter(self._definition.advance(*arguments, **named))

    @staticmethod
    def altered(decision: Decision, **changes: Any) -> Decision:
        """The decision with other fields."""
        return decision._replace(**changes)
