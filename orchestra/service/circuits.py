"""What is down, and what waits for it? The circuits of one service, and the lanes parked for them.

Each resource that says which errors mean that it is down (``down_on``) has a circuit, and each handler has one for the
other errors of infrastructure. Handlers that need what is down are not called: their records are parked unbegun, and
woken one by one as the circuit lets them through.

A lane that is woken asks again, so waking too many or the wrong one does no harm. One that nobody wakes (the lane that
was the probe is gone with its partition) comes back by itself after some seconds.
"""

from __future__ import annotations

import asyncio
import logging

from orchestra.ids import Jitter
from orchestra.service.circuit import Circuit
from orchestra.service.handler import Handler
from orchestra.service.lanes import Lanes
from orchestra.service.progress import Tries
from orchestra.service.resources import in_order
from orchestra.service.retry import waiting_delay
from orchestra.service.service import Service
from orchestra.service.share import Lane

_log = logging.getLogger(__name__)

_BY_ITSELF = 5.0
"""Seconds after which a parked lane asks without being woken."""


class Gate:
    """A circuit, and who waits at it."""

    __slots__ = ("alarm", "circuit", "down_on", "error", "waiting")

    def __init__(self, name: str, down_on: tuple[type[Exception], ...] = ()) -> None:
        self.circuit = Circuit(name)
        self.down_on = down_on
        self.error = ""
        """What opened it."""
        self.waiting: dict[Lane, None] = {}  # in the order in which they came
        self.alarm: asyncio.TimerHandle | None = None

    @property
    def why(self) -> str:
        """What waits here, waits for this."""
        return f"waits for {self.circuit.name}: {self.error}"


class Circuits:
    """The circuits of one service in one process."""

    def __init__(self, service: Service, lanes: Lanes, jitter: Jitter) -> None:
        self.are_closed = True
        """Looked at before each record: then nothing else of this module is called."""
        self._lanes = lanes
        self._jitter = jitter
        resources = {
            provides: Gate(f"resource {resource.name}", resource.down_on)
            for provides, resource in service.resources.items()
            if resource.down_on
        }
        self._own = {handler.name: Gate(f"handler {handler.name}") for handler in service.handlers}

        def needed(handler: Handler) -> list[Gate]:
            used = in_order(handler.parameters.values(), service.resources, wanted_by=f"handler {handler.name}")
            return [resources[each.provides] for each in used if each.provides in resources]

        self._needed = {handler.name: needed(handler) for handler in service.handlers}
        self._gate_of = {gate.circuit: gate for gate in (*resources.values(), *self._own.values())}
        self._gates = tuple(self._gate_of.values())

    def down(self) -> tuple[str, ...]:
        """What is down now, and why, for people."""
        return tuple(f"{gate.circuit.name}: {gate.error}" for gate in self._gates if not gate.circuit.is_closed)

    def enter(self, tries: Tries, lane: Lane) -> bool:
        """Whether a handler may be called now. If not, its lane waits."""
        now = asyncio.get_running_loop().time()
        gates = (*self._needed[tries.binding.name], self._own[tries.binding.name])
        for gate in gates:
            if not gate.circuit.admits(now):
                self._hold(gate, tries, lane, now)
                return False
        tries.is_gated = False
        for gate in gates:
            gate.waiting.pop(lane, None)
        tries.tickets = {gate.circuit: gate.circuit.enter() for gate in gates if not gate.circuit.is_closed}
        return True

    def is_down(self, tries: Tries, error: Exception) -> bool:
        """Whether a resource of the handler says that this error means that it is down."""
        return any(isinstance(error, gate.down_on) for gate in self._needed[tries.binding.name])

    def failed(self, tries: Tries, error: Exception) -> None:
        """A handler found something down: it waits for its own time, and then until that is back. Its own, because it
        may be its record alone for which it is down."""
        now = asyncio.get_running_loop().time()
        gates = (gate for gate in self._needed[tries.binding.name] if isinstance(error, gate.down_on))
        gate = next(gates, self._own[tries.binding.name])
        ticket = tries.tickets.pop(gate.circuit, None)
        self.left(tries)
        was_closed = gate.circuit.is_closed
        if gate.circuit.failed(ticket, now, self._jitter()):
            gate.error = f"{type(error).__name__}: {error}"[:200]
            self.are_closed = False
            gate.waiting = {each: None for each in gate.waiting if each.until is not None}
            self._set_alarm(gate)
            if was_closed or gate.circuit.rounds % 20 == 0:
                _log.warning("%s is down (%d): %s", gate.circuit.name, gate.circuit.rounds, gate.error)
        tries.waits += 1
        tries.is_gated = False
        tries.due, tries.why = now + waiting_delay(tries.waits, self._jitter()), gate.why

    def succeeded(self, tries: Tries) -> None:
        """A handler that was let through has got an answer."""
        tickets, tries.tickets = tries.tickets, {}
        for circuit, ticket in tickets.items():
            gate = self._gate_of[circuit]
            if circuit.succeeded(ticket) and not gate.waiting:  # nothing is left that would come all at once
                circuit.close()
            if circuit.is_closed:
                self._closed(gate)
            else:
                self._wake(gate, circuit.room)

    def left(self, tries: Tries) -> None:
        """A handler that was let through has ended without telling whether anything is down."""
        tickets, tries.tickets = tries.tickets, {}
        for circuit, ticket in tickets.items():
            circuit.left(ticket)
            self._wake(self._gate_of[circuit], circuit.room)

    def aclose(self) -> None:
        """Wake nobody any more."""
        for gate in self._gates:
            if gate.alarm is not None:
                gate.alarm.cancel()
                gate.alarm = None

    def _hold(self, gate: Gate, tries: Tries, lane: Lane, now: float) -> None:
        tries.is_gated = True
        tries.due, tries.why = now + _BY_ITSELF, gate.why
        gate.waiting[lane] = None

    def _closed(self, gate: Gate) -> None:
        if gate.error:
            _log.warning("%s is back", gate.circuit.name)
            gate.error = ""
        self._wake(gate, len(gate.waiting))
        self.are_closed = all(each.circuit.is_closed for each in self._gates)

    def _wake(self, gate: Gate, count: int) -> None:
        """Let that many of those who wait ask again, the first first."""
        while count > 0 and gate.waiting:
            lane = next(iter(gate.waiting))
            del gate.waiting[lane]
            count -= self._lanes.wake(lane)

    def _set_alarm(self, gate: Gate) -> None:
        if gate.alarm is not None:
            gate.alarm.cancel()
        gate.alarm = asyncio.get_running_loop().call_at(gate.circuit.until, self._wake, gate, 1)
