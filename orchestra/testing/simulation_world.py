"""What can a story do in a simulated world, and what can a check see of it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, TypeVar

from orchestra.bus.bus import Bus
from orchestra.coordinator.deployed import Flows
from orchestra.coordinator.record import decode_instance
from orchestra.coordinator.request import request_record
from orchestra.duration import Duration, seconds
from orchestra.errors import DefinitionError
from orchestra.events.cloudevents import decode
from orchestra.events.envelope import Envelope
from orchestra.events.message import Command, Event, Message, spec_of
from orchestra.flows.decision import OperatorAction, OperatorRequest, StepView, instance_id
from orchestra.flows.saga import definition_of
from orchestra.testing.simulation_run import Director
from orchestra.transport.port import Record

M = TypeVar("M", bound=Message)
R = TypeVar("R", bound=Event)
J = TypeVar("J", bound=Event)


@dataclass(frozen=True, slots=True)
class SimulatedInstance:
    """Where an instance of a flow stands.

    Attributes:
        id: ``<flow>/<percent-encoded business key>``.
        status: ``running``, ``completed``, ``compensated``, ``stuck``, ``halted``, ``parked``, ...
        steps: in the order of the flow.
        waits_for: in words; empty when it is over.
    """

    id: str
    status: str
    steps: Sequence[StepView]
    waits_for: Sequence[str]

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens to it."""
        return self.status in ("completed", "compensated")


class World:
    """What a story acts on, and a check looks at.

    The story is a client of its own, on a machine that never fails: what it publishes is published, though it may take
    until the brokers are back. It must take time and chance from here.

    Attributes:
        random: the seed's chance.
        bus: as :func:`orchestra.connect` gives it, for what has no word here.
    """

    def __init__(self, director: Director) -> None:
        self.random = Random(f"story {director.plan.seed}")
        self._director = director
        self._bus: Bus | None = None
        self._sender = director.outside.publisher()
        self._published = 0
        self._asked = 0

    @property
    def seed(self) -> int:
        return self._director.plan.seed

    @property
    def messages(self) -> int:
        """How many messages the story has published."""
        return self._published

    def now(self) -> datetime:
        """The true time of day in the world."""
        return self._director.clock.now()

    @property
    def bus(self) -> Bus:
        if self._bus is None:
            raise DefinitionError("world.bus is there as long as the story is told")
        return self._bus

    async def open(self) -> None:
        """Before the story begins."""
        transport, settings = self._director.outside, self._director.settings
        publisher = self._sender = transport.publisher()
        await publisher.start()
        self._bus = Bus(
            publisher,
            transport,
            settings,
            name="story",
            clock=self._director.clock,
            jitter=lambda: 0.5,
            most_asks=100,
        )

    # ---- what a story does

    async def publish(self, event: Message, *, id: str | None = None) -> None:  # noqa: A002  the CloudEvents name
        """Put an event on its topic, as :meth:`orchestra.Bus.publish` does. An answer that does not come is waited for,
        and the event is published again under the same id, as a good client does it.

        Args:
            id: of the event. Default: ``story-<number>``.
        """
        self._published += 1
        if self._published in self._director.plan.without:
            return
        event_id = id or f"story-{self._published}"
        await self._director.publish(lambda: self.bus.publish(event, id=event_id))

    async def ask(self, command: Command[R, J], *, timeout: Duration = "30s") -> R | J:
        """The outcome of a command, as :meth:`orchestra.Bus.ask` gives it."""
        return await self.bus.ask(command, timeout=timeout)

    async def operate(
        self,
        flow: Any,
        key: str,
        action: OperatorAction,
        *,
        by: str = "ann",
        reason: str = "the story says so",
        step: str | None = None,
        roles: Sequence[str] = (),
    ) -> None:
        """Ask something of an instance, as an operator does: it is stored when this returns, and heard of later.

        Args:
            flow: a flow class, or the name of one; ``key`` is the instance's business key.
            action: ``cancel``, ``retry``, ``restart``, ``skip``, ``resolve``, ``approve`` or ``reject``.
            step: which step it is about, where several could be meant.
            roles: what ``by`` is known to be.

        Raises:
            DefinitionError: no coordinator here has such a flow.
        """
        director = self._director
        name = _name_of(flow)
        for coordinator in director.deployment.coordinators:
            if coordinator.flows.newest(name) is not None:
                break
        else:
            raise DefinitionError(f"world.operate({name!r}, ...): no coordinator of this app has such a flow")
        self._asked += 1
        record = request_record(
            director.deployment.names[coordinator.name],
            coordinator.partitions,
            instance_id(name, key),
            OperatorRequest(action, by, reason, step, tuple(roles)),
            event_id=f"story-request-{self._asked}",
            now=self.now(),
            source="/story",
        )

        async def send() -> None:
            await self._sender.publish([record])

        await director.publish(send)

    async def sleep(self, duration: Duration) -> None:
        """Let so much time pass. Costs nothing while nothing happens, be it a month."""
        await self._director.sleep(seconds(duration))

    async def settle(self) -> None:
        """Return when nothing happens any more unless time passes: all is handled, and every instance waits."""
        await self._director.settle()

    def say(self, text: str) -> None:
        """Write a line into the run's story."""
        self._director.watch.say("story", text)

    # ---- what is to be seen

    def published(self, message: type[M], *, topic: str | None = None) -> list[M]:
        """Every message of that class on its topic so far, each id once.

        Args:
            topic: as declared, where the class names none.
        """
        spec = spec_of(message)
        name = topic or spec.topic
        if name is None:
            raise DefinitionError(f"world.published({message.__qualname__}): it has no topic; give topic='...'")
        events = {event.id: event for event in self.events(name) if event.type == spec.type}
        return [event.value(message) for event in events.values()]

    def events(self, topic: str) -> list[Envelope]:
        """Everything on a topic, by its declared name, repeats included."""
        return [decode(record.headers, record.value) for record in self._records(topic)]

    def dead_letters(self, name: str) -> list[Record]:
        """The dead letters of a service or coordinator."""
        return self._records(f"{name}.dead-letters")

    def _records(self, declared: str) -> list[Record]:
        topic = self._director.settings.topic(declared)
        return self._director.cluster.records(topic) if self._director.cluster.partitions_of(topic) else []

    def instances(self, flow: Any = None) -> list[SimulatedInstance]:
        """All instances that are remembered, in the order of their ids.

        Args:
            flow: a flow class, or the name of one. Default: of all flows.
        """
        director = self._director
        wanted = None if flow is None else _name_of(flow)
        found: list[SimulatedInstance] = []
        for coordinator in director.deployment.coordinators:
            for key, standing in director.watch.standing[coordinator.name].items():
                if wanted is None or key.startswith(f"{wanted}/"):
                    found.append(_instance(key, standing.value, coordinator.flows))
        return sorted(found, key=lambda instance: instance.id)

    def instance(self, flow: Any, key: str) -> SimulatedInstance | None:
        """One instance by its business key, or None."""
        wanted = instance_id(_name_of(flow), key)
        return next((each for each in self.instances(flow) if each.id == wanted), None)


def _name_of(flow: Any) -> str:
    if isinstance(flow, str):
        return flow
    return definition_of(flow).name if isinstance(flow, type) else str(flow.name)


def _instance(key: str, value: bytes, flows: Flows) -> SimulatedInstance:
    instance = decode_instance(key, value)
    definition = flows.find(instance.flow, instance.version)
    if instance.state is not None and definition is not None:
        return SimulatedInstance(
            key, instance.label, definition.steps(instance.state), definition.waits_for(instance.state)
        )
    steps: Any = (instance.result or {}).get("steps", [])
    return SimulatedInstance(key, instance.label, [StepView(**step) for step in steps], [])
