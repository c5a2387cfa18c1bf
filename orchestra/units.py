"""Which runtimes does an app consist of?"""

from __future__ import annotations

from orchestra.app import App
from orchestra.clock import Clock, SystemClock
from orchestra.coordinator.coordinator import Coordinator
from orchestra.coordinator.runtime import CoordinatorRuntime
from orchestra.service.runtime import ServiceRuntime
from orchestra.service.service import Service
from orchestra.settings import Settings
from orchestra.supervisor import Unit, needed_topics
from orchestra.transport.port import TopicSpec, Transport


def units_of(app: App, transport: Transport, settings: Settings, *, clock: Clock | None = None) -> list[Unit]:
    """A unit for each service and coordinator, for a :class:`~orchestra.supervisor.Supervisor`."""
    clock = clock or SystemClock()

    def serving(service: Service) -> Unit:
        return Unit(service.name, lambda: ServiceRuntime(service, transport, settings, clock=clock))

    def coordinating(coordinator: Coordinator) -> Unit:
        return Unit(coordinator.name, lambda: CoordinatorRuntime(coordinator, transport, settings, clock=clock))

    return [*map(serving, app.services), *map(coordinating, app.coordinators)]


def topics_of(app: App, transport: Transport, settings: Settings) -> list[TopicSpec]:
    """Every topic that an app reads or writes, each once. Asks no broker.

    Raises:
        DefinitionError: two parts want different things of one topic.
    """
    return needed_topics(unit.build() for unit in units_of(app, transport, settings))
