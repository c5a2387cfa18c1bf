"""What must a kind of node be able to do, so that a flow of any kinds can be advanced by one function?

``decide.py`` knows nodes only by this interface. A behaviour is stateless; what it knows about a node of an instance is
in that node's state, which it alone reads and writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

from orchestra.events.envelope import Envelope
from orchestra.flows.decision import OperatorRequest, StepView, Timer
from orchestra.flows.draft import Draft
from orchestra.flows.effect import Phase
from orchestra.flows.failure import Failure
from orchestra.flows.graph import GraphNode
from orchestra.flows.instance import Instance, NodeState
from orchestra.flows.stored import Stored

N_contra = TypeVar("N_contra", bound=GraphNode, contravariant=True)
S = TypeVar("S", bound=NodeState)


class Behaviour(Protocol[N_contra, S]):
    """How one kind of node begins, takes inputs, is cancelled and undone."""

    def load(self, raw: Mapping[str, Any]) -> S:
        """The node's state from JSON."""
        ...

    def begin(self, node: N_contra, values: Values, draft: Draft) -> S:
        """All that comes before it is done."""
        ...

    def value(self, node: N_contra, state: S, yields: Yields) -> object:
        """What it yields. Asked only when it is done."""
        ...

    def failure(self, node: N_contra, state: S, yields: Yields) -> Failure:
        """Why it failed. Asked only when it has."""
        ...

    def outcome(self, node: N_contra, state: S, address: Address, event: Envelope, draft: Draft) -> None:
        """An answer to one of its effects."""
        ...

    def timer(self, node: N_contra, state: S, address: Address, generation: int, values: Values, draft: Draft) -> None:
        """One of its timers fired, perhaps a stale one."""
        ...

    def cancel(self, node: N_contra, state: S, draft: Draft) -> None:
        """The flow fails while the node is active: let go of what need not be awaited. Called again and again."""
        ...

    def is_final(self, node: N_contra, state: S) -> bool:
        """Whether the flow can no longer be cancelled, because of this node."""
        ...

    def plan_undo(self, node: N_contra, state: S, draft: Draft) -> None:
        """Compensation begins: what there is to undo becomes planned."""
        ...

    def undo(self, node: N_contra, state: S, draft: Draft) -> None:
        """All that was done after it is undone: now undo it."""
        ...

    def operate(self, node: N_contra, state: S, request: OperatorRequest, values: Values, draft: Draft) -> str | None:
        """Retry, skip or resolve. Returns why not, or None when it was done."""
        ...

    def timers(self, node: N_contra, state: S, instance: Instance) -> Iterable[Timer]:
        """Its pending timers."""
        ...

    def views(self, node: N_contra, state: S | None) -> Iterable[StepView]:
        """For people: the node, and its undoing where there is one."""
        ...

    def waits_for(self, node: N_contra, state: S, instance: Instance) -> Iterable[str]:
        """In words, what it waits for now."""
        ...


class Values(Protocol):
    """Gives what the nodes that a node needs have yielded, when somebody asks."""

    def __call__(self) -> list[object]: ...


class Yields(Protocol):
    """Gives what a node has yielded, or why it failed."""

    def __call__(self, name: str, /) -> object: ...

    @property
    def stored(self) -> Stored:
        """What the instance keeps beside its record."""
        ...


class Quiet:
    """What a node does that sends no command: nothing of it is answered, awaited, undone or left to an operator."""

    def outcome(self, node: Any, state: Any, address: Address, event: Envelope, draft: Draft) -> None:
        draft.ignore("outcome.unknown", node.name, None, address.phase, "the node sends no command")

    def timer(self, node: Any, state: Any, address: Address, generation: int, values: Values, draft: Draft) -> None:
        draft.ignore("timer.stale", node.name, None, address.phase, "the node has no timer")

    def cancel(self, node: Any, state: Any, draft: Draft) -> None:
        """There is nothing to let go of."""

    def is_final(self, node: Any, state: Any) -> bool:
        return False

    def plan_undo(self, node: Any, state: Any, draft: Draft) -> None:
        """There is nothing to undo."""

    def undo(self, node: Any, state: Any, draft: Draft) -> None:
        """There is nothing to undo."""

    def operate(self, node: Any, state: Any, request: OperatorRequest, values: Values, draft: Draft) -> str | None:
        return "it is no step: there is nothing to retry, skip or resolve"

    def timers(self, node: Any, state: Any, instance: Instance) -> Iterable[Timer]:
        return ()


class Address:
    """Which effect of which node: the end of an effect id, ``<step>/<phase>/<iteration>``."""

    __slots__ = ("iteration", "phase", "step")

    def __init__(self, step: str, phase: Phase, iteration: int) -> None:
        self.step = step
        self.phase: Phase = phase
        self.iteration = iteration

    def __str__(self) -> str:
        return f"{self.step}/{self.phase}/{self.iteration}"

    @classmethod
    def read(cls, text: str) -> Address | None:
        """None for what is no address."""
        step, _, rest = text.partition("/")
        phase, _, iteration = rest.partition("/")
        if not step or phase not in ("action", "undo") or not iteration.isdecimal() or len(iteration) > 9:
            return None
        return cls(step, "undo" if phase == "undo" else "action", int(iteration))
