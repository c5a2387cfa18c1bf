"""How does a machine go from state to state? Leave from inner to outer, act, enter from outer to inner; then go on
until nothing more follows."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from orchestra.errors import DefinitionError
from orchestra.events.message import decode_data, spec_of
from orchestra.flows.decision import Json
from orchestra.flows.machine.chart import Chart, ChartState, Method, Run, Send, Transition
from orchestra.flows.machine.doing import ask, give_up, leave, run, send
from orchestra.flows.machine.instance import MAX_DEFERRED
from orchestra.flows.machine.select import Selected, entries, exits, first_entries, in_order, is_done, select
from orchestra.flows.machine.turn import Turn

MICROS = 1_000_000
MAX_STEPS = 1000
"""Steps that one input may lead to: more are a machine that goes round in circles."""


class Walk:
    """One run to completion."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._chart: Chart = turn.chart
        self._machine = turn.machine
        nodes = turn.machine.nodes
        states = turn.chart.states
        self.active = {name for name, node in nodes.items() if node["s"] == "active" and name in states}
        self._queue: deque[str] = deque()
        self._moved = False

    # ---- triggers

    def begin(self) -> None:
        """Enter the first states."""
        self._enter(first_entries(self._chart))
        self.settle()

    def select(self, trigger: str, *given: object) -> Selected:
        return select(self._chart, self.active, trigger, lambda one: self._turn.allows(one, self._given(one, given)))

    @staticmethod
    def _given(one: Transition, given: tuple[object, ...]) -> tuple[object, ...]:
        return given if one.has_value else ()

    def fire(self, trigger: str, *given: object) -> bool:
        """Take what a trigger enables, and go on until nothing more follows. False where it enables nothing."""
        found = self.select(trigger, *given)
        if not found.transitions:
            return False
        self.take(found.transitions, *given)
        return True

    def take(self, taken: Sequence[Transition], *given: object) -> None:
        self._turn.origin = taken[0].trigger
        self._step(taken, given)
        self.settle()

    def leave_all(self) -> None:
        """Leave every state: the machine is cancelled."""
        self._leave(sorted(self.active, key=lambda name: -self._chart.states[name].order))

    def settle(self) -> None:
        """Eventless transitions, completions and deferred events, until there are no more."""
        for _ in range(MAX_STEPS):
            if self._machine.is_over:
                return
            if not (self._eventless() or self._completion() or self._deferred()):
                return
        raise DefinitionError(
            f"{self._chart.label}: {MAX_STEPS} transitions followed one input without an end; look at what leads from "
            f"{', '.join(in_order(self._chart, self.active))} by .always or .done"
        )

    def _eventless(self) -> bool:
        if not self._chart.eventless:
            return False
        found = self.select("")
        if found.transitions:
            self._step(found.transitions, ())
        return bool(found.transitions)

    def _completion(self) -> bool:
        if not self._queue:
            return False
        if (found := self.select(trigger := self._queue.popleft())).transitions:
            self._turn.origin = trigger
            self._step(found.transitions, ())
        return True

    def _deferred(self) -> bool:
        """The first event that was kept for later, and that the present states no longer defer."""
        kept = self._machine.deferred
        if not kept or not self._moved:
            return False
        for place, (kind, text) in enumerate(kept):
            event = decode_data(self._chart.events[kind or ""], None if text is None else text.encode())
            found = self.select(f"event:{kind}", event)
            if not found.transitions and self.policy(found) == "defer":
                continue
            self._machine.deferred = [*kept[:place], *kept[place + 1 :]]
            self._turn.note("event.recalled", note=f"{kind}, which had come early")
            if found.transitions:
                self._turn.origin = f"event:{kind}"
                self._step(found.transitions, (event,))
            else:
                self.surplus(found, kind or "", text)
            return True
        self._moved = False
        return False

    # ---- what is not expected

    def policy(self, found: Selected) -> str:
        if not found.policies:
            return self._chart.unexpected
        return "defer" if "defer" in found.policies else "reject" if "reject" in found.policies else "ignore"

    def surplus(self, found: Selected, kind: str, text: str | None) -> None:
        """No transition takes the event."""
        turn = self._turn
        where = ", ".join(name for name in in_order(self._chart, self.active) if not self._chart.states[name].children)
        why = f"{kind}: {'its guard says no' if found.guarded else 'not expected'} in {where}"
        policy = self.policy(found)
        if policy == "defer" and len(self._machine.deferred) < MAX_DEFERRED:
            self._machine.deferred.append([kind, text])
            turn.note("event.deferred", note=why)
        elif policy == "ignore":
            turn.note("event.ignored", note=why)
        else:
            why += f"; {MAX_DEFERRED} events are deferred already" if policy == "defer" else ""
            turn.note("event.rejected", note=why)
            turn.alert("event.rejected", where, why)

    # ---- one step

    def _step(self, taken: Sequence[Transition], given: tuple[object, ...]) -> None:
        chart, turn = self._chart, self._turn
        for one in taken:
            said = one.label or "always"
            turn.note("transition.taken", one.source, note=f"{said}: to {one.to}" if one.to else f"{said}: it stays")
        left = {name for one in taken for name in exits(chart, self.active, one)}
        self._leave(sorted(left, key=lambda name: -chart.states[name].order))
        for one in taken:
            if one.action is not None:
                turn.act(one.source, one.action, self._given(one, given))
        self._enter(entries(chart, taken))

    def _leave(self, names: Sequence[str]) -> None:
        turn, machine = self._turn, self._machine
        for name in names:
            state = self._chart.states[name]
            for one in state.exits:
                if isinstance(one, Send):
                    send(one, turn)
                else:
                    turn.act(name, one)
            for each in state.entries:
                leave(each, turn)
            self.active.discard(name)
            machine.nodes[name] = {"s": "left"}
            self._moved = True
            turn.note("state.left", name)

    def _enter(self, names: Sequence[str]) -> None:
        for name in names:
            state = self._chart.states[name]
            self.active.add(name)
            self._machine.nodes[name] = self._fresh(state)
            self._moved = True
            self._turn.note("state.entered", name)
            self._do(state)
            if state.final:
                self._finish(state)

    def _fresh(self, state: ChartState) -> Json:
        turn = self._turn
        node: Json = {"s": "active", "t": turn.now}
        if state.timers:
            node["g"] = self._machine.next_generation()
            node["d"] = {str(place): turn.now + self._micros(one) for place, one in enumerate(state.timers)}
        return node

    def _micros(self, timer: Transition) -> int:
        delay: Any = timer.delay
        if callable(delay):
            made = delay(self._turn.me())
            if not isinstance(made, timedelta) or made < timedelta(0):
                where = f"{self._chart.label}.{timer.source} {timer.label}"
                raise DefinitionError(f"{where}: it returned {made!r}; a delay is a timedelta, not below zero")
            delay = made.total_seconds()
        return int(delay * MICROS)

    def _do(self, state: ChartState) -> None:
        turn = self._turn
        for one in state.exits:
            if isinstance(one, Send):
                self._supersede(one)
        for each in state.entries:
            if isinstance(each, Method):
                events = turn.act(state.name, each)
                if state.final and state.parent is None and events and self._machine.answer is None:
                    first = events[0]
                    text = first.__pydantic_serializer__.to_json(first).decode()
                    self._machine.answer = [spec_of(type(first)).type, text]
            elif isinstance(each, Send):
                send(each, turn)
            elif isinstance(each, Run):
                run(each, turn)
            else:
                ask(each, turn)

    def _supersede(self, one: Send) -> None:
        """What was sent when the state was left the last time must not be sent again: it would come behind the new
        visit's own commands."""
        effect = self._turn.effect(one.name)
        if effect is not None and effect.status.is_open:
            give_up(one, effect, self._turn, f"{one.state} is entered again")

    def _finish(self, state: ChartState) -> None:
        """A final state is reached: of the machine, or of a state around it, and perhaps of a parallel one."""
        if state.parent is None:
            self._machine.final = state.name
            return
        self._queue.append(f"done:{state.parent}")
        around = self._chart.states[state.parent].parent
        if around is not None and self._chart.states[around].parallel and is_done(self._chart, self.active, around):
            self._queue.append(f"done:{around}")
