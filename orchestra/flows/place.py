"""Where in a flow's class is something declared, and what may it name there?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestra.duration import Duration, seconds
from orchestra.errors import DefinitionError
from orchestra.flows.node import Node
from orchestra.retry import Retry


class Place:
    """A member of a flow's class. Its text begins every complaint about it.

    Args:
        label: the class.
        member: its name in there.
        nodes: all nodes of the class, by identity.
        saga: whether the flow is one.
    """

    def __init__(self, label: str, member: str, nodes: Mapping[int, Node[Any]], *, saga: bool) -> None:
        self.label = label
        self.member = member
        self.saga = saga
        self._nodes = nodes

    def __str__(self) -> str:
        return f"{self.label}.{self.member}"

    def names(self, given: Sequence[Node[Any]]) -> tuple[str, ...]:
        """The names of these nodes of the same flow. Raises DefinitionError for others, and for one named twice."""
        for node in given:
            if id(node) not in self._nodes:
                have = ", ".join(one.label for one in self._nodes.values())
                raise DefinitionError(
                    f"{self}: it needs {node.label!r}, which is no node of this flow (of another class, or replaced by "
                    f"a later one of that name); use one of {have}"
                )
        names = tuple(node.label for node in given)
        if len(set(names)) < len(names):
            raise DefinitionError(f"{self}: it names {', '.join(names)}; name each node once")
        return names

    def seconds(self, what: str, duration: Duration) -> float:
        """Raises DefinitionError for what is no duration."""
        try:
            return seconds(duration)
        except DefinitionError as error:
            raise DefinitionError(f"{self}: {what}: {error}") from None

    def limit(self, what: str, duration: Duration | None) -> float | None:
        """Likewise; None stays None: for ever."""
        return None if duration is None else self.seconds(what, duration)

    def retry(self, retry: Retry) -> Retry:
        """Raises DefinitionError for options that only handlers have."""
        if retry.later or retry.errors or retry.order != "block_key":
            raise DefinitionError(
                f"{self}: later, order and errors of a Retry are for handlers; a step is tried again as attempts, "
                "first, factor and cap say"
            )
        return retry
