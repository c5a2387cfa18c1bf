"""What has one input done to a machine so far? The draft of a decision, with the machine's own methods."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from orchestra.errors import DefinitionError
from orchestra.events.message import Event, spec_of
from orchestra.flows.draft import AnyDraft
from orchestra.flows.effect import Effect, EffectStatus
from orchestra.flows.machine.chart import Chart, Method, Transition
from orchestra.flows.machine.instance import MachineInstance
from orchestra.flows.machine.state import Data
from orchestra.ids import derived_id


class Turn(AnyDraft[Chart, MachineInstance]):
    """One decision in the making. ``origin``: the last trigger of a transition that was taken, eventless ones apart."""

    def __init__(self, chart: Chart, machine: MachineInstance, now: datetime) -> None:
        super().__init__(chart, machine, now)
        self.chart = chart
        self.machine = machine
        self.origin = ""
        self._data: Data | None = None
        self._effects: dict[str, Effect] = {}

    # ---- what is known

    @property
    def data(self) -> Data:
        if (data := self._data) is None:
            read: Data = self.chart.data.__pydantic_validator__.validate_json(self.machine.data)
            data = self._data = read
        return data

    def effect(self, name: str) -> Effect | None:
        """The effect of a command or flow; None for one that was never begun."""
        if (known := self._effects.get(name)) is None and (raw := self.machine.nodes.get(name)) is not None:
            known = self._effects[name] = Effect.load(raw)
        return known

    def keep(self, name: str, effect: Effect, *, command: bool = False) -> None:
        """The effect has changed. ``command``: what was sent is kept though it is settled: it may be sent again."""
        if effect.ended is not None and effect.status is not EffectStatus.STUCK and not command:
            effect.command = None
        self._effects[name] = effect
        raw = effect.dump()
        if (before := self.machine.nodes.get(name)) is not None and "u" in before:
            raw["u"] = before["u"]
        self.machine.nodes[name] = raw

    # ---- the machine's own methods

    def me(self) -> Any:
        """An object of the machine's class for one call: it knows the recorded time, the data and the start event."""
        me = self.flow(None)
        me.__dict__["data"] = self.data
        return me

    def allows(self, one: Transition, given: tuple[object, ...]) -> bool:
        """What a guard says."""
        assert one.when is not None
        answer: object = one.when(self.me(), *given)
        if type(answer) is not bool:
            where = f"{self.chart.label}.{one.source} {one.label}".rstrip()
            raise DefinitionError(f"{where}: its guard returned {answer!r}, which is no bool")
        return answer

    def act(self, state: str, method: Method, given: tuple[object, ...] = ()) -> list[Event]:
        """Run an action: take the data and publish the events that it gives. Returns the events."""
        made = method.make(self.me(), *given)
        several = made if isinstance(made, (list, tuple)) else [] if made is None else [made]
        events: list[Event] = []
        for one in several:
            if type(one) not in method.gives:
                names = " or ".join(each.__name__ for each in method.gives) or "None"
                raise DefinitionError(
                    f"{self.chart.label}.{method.label}: it returned {type(one).__name__}, and says that it returns "
                    f"{names}"
                )
            if isinstance(one, Event):
                events.append(one)
                self._publish(state, one)
            else:
                self._take(method, one)
        return events

    def begin(self, make: Callable[..., Data] | None) -> None:
        """The data at the start."""
        value = self.chart.data() if make is None else make(self.flow(None))
        self._take(Method(label="the data at the start", make=lambda: None, gives=(self.chart.data,)), value)

    def _take(self, method: Method, value: object) -> None:
        if type(value) is not self.chart.data:
            raise DefinitionError(
                f"{self.chart.label}.{method.label}: it gave {value!r}, no {self.chart.data.__name__}"
            )
        text = value.__pydantic_serializer__.to_json(value)
        try:
            # What model_copy or model_construct made was never looked at. And what comes back next time is what counts.
            self._data = self.chart.data.__pydantic_validator__.validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise DefinitionError(
                f"{self.chart.label}.{method.label}: the data that it gave is not valid: {place}: {first['msg']}"
            ) from None
        self.machine.data = text.decode()
        self.changed = True

    def _publish(self, state: str, event: Event) -> None:
        number = self.machine.published
        self.machine.published += 1
        of = self.effect_id(state, "action", number)
        self._emit("event", event, derived_id(of, "event"), self._extensions() | {"flowstep": state})
        self.note("event.published", state, note=spec_of(type(event)).type)
