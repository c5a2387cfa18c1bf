"""What can be asked of an instance while it runs? A flow's own questions, answered from its recorded state. Pure.

A question is a method of the flow under ``@query``. It sees what the flow's other methods see (the start event, the
data of a machine) and a :class:`FlowView`. Nothing is sent to the instance, and nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar, cast

from orchestra.errors import DefinitionError, FlowQueryError
from orchestra.flows.decide import CompiledFlow
from orchestra.flows.decision import Definition, Json, ReadValue, Status, StepView, no_values
from orchestra.flows.draft import Draft
from orchestra.flows.machine.decide import CompiledMachine
from orchestra.flows.machine.instance import load_machine
from orchestra.flows.machine.turn import Turn
from orchestra.flows.node import Node
from orchestra.flows.progress import Progress

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FlowView:
    """An instance, as its newest record has it.

    Attributes:
        status: where it stands.
        steps: in the order of the flow, as ``orchestra instances show`` has them.
        waits_for: in words, what it waits for.
        changed: the recorded time of its newest decision.
    """

    status: Status
    steps: Sequence[StepView]
    waits_for: Sequence[str]
    changed: datetime
    _reply: Callable[[str], object] | None = None

    def step(self, node: Node[Any]) -> StepView:
        """The step that ``Flow.step`` names. Raises FlowQueryError for one of another flow."""
        found = next((one for one in self.steps if one.name == node.label), None)
        if found is None:
            raise FlowQueryError(f"there is no step {node.label!r} in this flow, or in this version of it")
        return found

    def reply(self, node: Node[T]) -> T | None:
        """What ``Flow.step`` has yielded; None while it is not done.

        Raises:
            FlowQueryError: the instance is over, and its replies are not kept: look at ``status`` first. Or the flow
                has no such step.
        """
        if self._reply is None:
            raise FlowQueryError("the instance is over, and its replies are not kept; look at view.status first")
        return cast("T | None", self._reply(node.label))


class FlowQuery(Generic[T]):
    """A question to one flow's instances: ``bus.query(FoodOrder.progress, "o-1")``."""

    def __init__(self, flow: type, name: str, make: Callable[[Any, FlowView], T]) -> None:
        self.flow = flow
        self.name = name
        self._make = make

    def __repr__(self) -> str:
        return f"{self.flow.__name__}.{self.name}"

    def of(self, definition: Definition) -> FlowQuery[T]:
        """The question as that version of the flow has it. Raises FlowQueryError where it has none."""
        owner: type = self.flow
        if isinstance(definition, CompiledFlow):
            owner = definition.graph.owner
        elif isinstance(definition, CompiledMachine):
            owner = definition.chart.owner
        found = getattr(owner, self.name, None)
        if not isinstance(found, FlowQuery):
            raise FlowQueryError(f"version {definition.version} of {definition.name} has no query {self.name!r}")
        return found

    def answer(
        self, definition: Definition, state: Json, status: Status, changed: datetime, values: ReadValue = no_values
    ) -> T:
        """What the method says of a state; ``values`` gives what stands beside it, or raises KeyError."""
        steps, waits_for = definition.steps(state), definition.waits_for(state)
        if isinstance(definition, CompiledFlow):
            instance = definition._load(state, values)

            def reply(name: str) -> object:
                if name not in definition.graph.nodes:
                    raise FlowQueryError(f"{definition.graph.label} has no step {name!r}")
                if instance.progress(name) is not Progress.DONE:
                    return None
                return definition._follow.values([name], instance)()[0]

            me = Draft(definition.graph, instance, changed).flow(None)
            return self._make(me, FlowView(status, steps, waits_for, changed, reply))
        if isinstance(definition, CompiledMachine):
            turn = Turn(definition.chart, load_machine(state), changed)
            return self._make(turn.me(), FlowView(status, steps, waits_for, changed, _of_a_machine))
        raise FlowQueryError(f"{definition.name} is no flow of this library's making: it cannot be queried")

    def answer_after_end(self, steps: Sequence[StepView], status: Status, changed: datetime) -> T:
        """What the method says of an instance that is over: start event and replies are gone."""
        return self._make(_Ended(), FlowView(status, steps, (), changed))


class _Ended:
    """Stands for a flow's object when the instance's state is gone."""

    def __getattr__(self, name: str) -> object:
        raise FlowQueryError(f"the instance is over, and self.{name} is not kept; look at view.status first")


def _of_a_machine(name: str) -> object:
    raise FlowQueryError(f"a machine keeps no replies ({name}); what matters of them is in self.data")


class Query(Generic[T]):
    """A method under :func:`query`. ``Flow.name`` gives a :class:`FlowQuery`."""

    def __init__(self, make: Callable[[Any, FlowView], T]) -> None:
        self._make = make
        self._name = make.__name__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> FlowQuery[T]:
        return FlowQuery(owner, self._name, self._make)


def query(make: Callable[[Any, FlowView], T], /) -> Query[T]:
    """Declare a question that can be asked of an instance: ``def progress(self, view: FlowView) -> Progress``.

    Pure, as every method of a flow. It is evaluated wherever it is asked, from the instance's newest durable record.
    """
    if not callable(make):
        raise DefinitionError("@query is written above a method, without parentheses")
    return Query(make)
