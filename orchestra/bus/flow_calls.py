"""How does a start, a request or a signal of a program get to its instance, and an answer back?

A start goes the way of every other start: as an event on its topic, so that all who care about that event see it. Only
a header says that somebody waits. What is for one instance (a request, a signal) goes into its coordinator's inbox.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from orchestra.bus.asking import Asking, Wait
from orchestra.bus.stamp import Stamp
from orchestra.clock import Clock
from orchestra.coordinator.answering import STATUS
from orchestra.coordinator.coordinator import Coordinator
from orchestra.coordinator.inbox import caller_header
from orchestra.coordinator.names import Names
from orchestra.coordinator.record import Caller, Instance, decode_instance, finished_steps, from_headers
from orchestra.coordinator.request import Answer, ask_instances, event_record
from orchestra.coordinator.state_reader import StateReader
from orchestra.errors import (
    DecodeError,
    DefinitionError,
    FlowError,
    FlowFailedError,
    FlowQueryError,
    FlowRefusedError,
    FlowTimeoutError,
    InstanceUnknownError,
)
from orchestra.events.attributes import Value
from orchestra.events.envelope import Envelope, compose
from orchestra.events.message import Done, Event, FlowFailed, StepRefused, record_key, spec_of
from orchestra.flows.decide import CompiledFlow
from orchestra.flows.decision import Definition, OperatorRequest, Status, instance_id
from orchestra.flows.machine.decide import CompiledMachine
from orchestra.flows.query import FlowQuery
from orchestra.flows.saga import definition_of
from orchestra.ids import new_id
from orchestra.settings import Settings
from orchestra.transport.port import Outgoing, Partition, Publisher, Transport

if TYPE_CHECKING:
    pass

E = TypeVar("E", bound=Event)
F = TypeVar("F", bound=Event)
T = TypeVar("T")


_TRIES = 3


class _Run(Wait):
    """An instance whose end is awaited."""

    __slots__ = ("instance",)

    def __init__(self, flow: str, instance: str) -> None:
        super().__init__(flow, new_id())
        self.instance = instance

    def take(self, answer: Envelope) -> bool:
        if not self.future.done():
            self.future.set_result(answer)
        return True

    def closed(self) -> Exception:
        return FlowError(
            f"{self.label}: the bus was closed before {self.instance} was over; it goes on", instance=self.instance
        )

    def late(self, limit: float) -> FlowTimeoutError:
        what = "it goes on" if self.is_sent else "its start event was not sent, or not known to be"
        return FlowTimeoutError(
            f"{self.label}: instance {self.instance} was not over within {limit:g} s; {what}. Run it again with the "
            f"same event to wait on, or look at it: orchestra instances show",
            instance=self.instance,
        )


class FlowCalls:
    """What a bus can do with flows. ``coordinators``: those whose instances it talks to."""

    def __init__(
        self,
        asking: Asking,
        stamp: Stamp,
        publisher: Publisher,
        transport: Transport,
        settings: Settings,
        *,
        clock: Clock,
        coordinators: Sequence[Coordinator],
    ) -> None:
        self._asking = asking
        self._stamp = stamp
        self._publisher = publisher
        self._transport = transport
        self._settings = settings
        self._clock = clock
        self._coordinators = tuple(coordinators)
        self._readers: dict[str, StateReader] = {}

    # ---- run

    async def run(
        self, flow: Any, start: Event, *, limit: float, wanted: tuple[type[Event], ...], correlation_id: str | None
    ) -> Event:
        """See ``Bus.run``."""
        definition = definition_of(flow)
        event_type = spec_of(type(start)).type
        if event_type not in definition.starts_on:
            known = ", ".join(definition.starts_on)
            raise DefinitionError(
                f"bus.run({flow.__name__}): {type(start).__name__} does not start it; it starts on {known}"
            )
        classes = _ends(flow, definition, wanted)
        run = _Run(flow.__name__, instance_id(definition.name, (record_key(start) or b"").decode()))
        about: dict[str, Value] = {} if correlation_id is None else {"correlationid": correlation_id}

        def record(place: Partition) -> Outgoing:
            out = self._stamp.record(start, id=new_id(), time=self._clock.now(), extensions=about)
            caller = Caller(run.effect_id, place.topic, place.number)
            headers = [*out.headers, caller_header(definition.name, caller)]
            return replace(out, headers=headers)

        try:
            answer: Envelope = await self._asking.exchange(run, record, seconds=limit)
        except TimeoutError as error:
            if isinstance(error, FlowError):
                raise
            raise run.late(limit) from None
        return _read_end(run, answer, classes, wanted)

    # ---- requests and signals

    async def cancel(self, flow: Any, key: str, *, by: str, reason: str, limit: float) -> None:
        """See ``Bus.cancel``."""
        answer = await self._ask(flow, key, OperatorRequest("cancel", by=by, reason=reason), limit=limit)
        if answer.outcome == "refused":
            raise FlowRefusedError(answer.note, instance=instance_id(definition_of(flow).name, key))

    async def _ask(self, flow: Any, key: str, request: OperatorRequest, *, limit: float) -> Answer:
        """Put a request to an instance, and wait for what comes of it.

        Raises:
            FlowTimeoutError, InstanceUnknownError.
        """
        coordinator, names = self._of(flow)
        instance = instance_id(definition_of(flow).name, key)
        await self._begun(coordinator, instance)
        found = await ask_instances(
            self._transport,
            self._publisher,
            names,
            coordinator.partitions,
            {instance: request},
            source=self._stamp.source,
            now=self._now(),
            seconds=limit,
        )
        if (answer := found[instance]) is None:
            text = f"{instance} did not answer {request.action!r} within {limit:g} s; it may still be done"
            raise FlowTimeoutError(text, instance=instance)
        return answer

    async def signal(self, flow: Any, key: str, event: Event) -> None:
        """See ``Bus.signal``."""
        coordinator, names = self._of(flow)
        definition = definition_of(flow)
        if spec_of(type(event)).type not in definition.listens_to:
            known = ", ".join(definition.listens_to) or "nothing"
            raise DefinitionError(
                f"bus.signal({flow.__name__}): it does not wait for {type(event).__name__}; it listens to {known}"
            )
        instance = instance_id(definition.name, key)
        envelope = compose(event, id=new_id(), source=self._stamp.source, time=self._now())
        await self._publisher.publish([event_record(names, coordinator.partitions, instance, envelope)])

    # ---- queries

    async def query(self, question: FlowQuery[T], key: str) -> T:
        """See ``Bus.query``."""
        coordinator, _ = self._of(question.flow)
        instance = instance_id(definition_of(question.flow).name, key)
        for tries in range(_TRIES, 0, -1):
            record, changed = await self._begun(coordinator, instance)
            values = await self._reader(coordinator).values(instance, record.run)
            try:
                return _answer(question, coordinator, record, changed, values)
            except FlowQueryError as error:
                raise FlowQueryError(f"{question!r} of {instance}: {error}", instance=instance) from None
            except KeyError:
                # The instance may have gone on meanwhile, and let go of a value. Else it is the method's own mistake.
                if tries == 1 or (await self._begun(coordinator, instance))[0].n == record.n:
                    raise
        raise AssertionError("the last try returns or raises")

    # ---- the coordinator

    def _of(self, flow: Any) -> tuple[Coordinator, Names]:
        name = definition_of(flow).name
        for coordinator in self._coordinators:
            if any(definition.name == name for definition in coordinator.definitions):
                return coordinator, Names.of(coordinator.name, self._settings)
        raise DefinitionError(
            f"{flow.__name__}: this bus knows no coordinator that has it; write connect(coordinators=[...])"
        )

    async def _begun(self, coordinator: Coordinator, instance: str) -> tuple[Instance, datetime]:
        """The instance as its newest record has it, and when that was. Raises InstanceUnknownError."""
        record = await self._reader(coordinator).newest(instance)
        found = None if record is None or record.value is None else decode_instance(instance, record.value)
        if record is None or found is None or found.is_unborn:
            raise InstanceUnknownError(
                f"there is no instance {instance}: it never was, has not started yet, or is no longer remembered",
                instance=instance,
            )
        return found, from_headers(record.headers).now

    def _reader(self, coordinator: Coordinator) -> StateReader:
        if (reader := self._readers.get(coordinator.name)) is None:
            names = Names.of(coordinator.name, self._settings)
            reader = self._readers[coordinator.name] = StateReader(self._transport, names)
        return reader

    def _now(self) -> datetime:
        return self._clock.now()


def _answer(
    question: FlowQuery[T], coordinator: Coordinator, record: Instance, changed: datetime, values: Mapping[str, bytes]
) -> T:
    definition = coordinator.flows.find(record.flow, record.version)
    if definition is None:
        if record.version is None:
            raise FlowQueryError(f"it is {record.label}, and has not begun")
        raise FlowQueryError(f"it runs version {record.version}, which this program does not have")
    of, status = question.of(definition), Status(record.status)
    if record.state is None:
        return of.answer_after_end(finished_steps(record), status, changed)
    return of.answer(definition, record.state, status, changed, values.__getitem__)


def _ends(flow: type, definition: Definition, wanted: Sequence[type[Event]]) -> dict[str, type[Event]]:
    """By type, the classes of what the flow may say at its end."""
    known: list[type[Event]] = []
    if isinstance(definition, CompiledFlow):
        for end in (definition.graph.completed, definition.graph.compensated):
            known += end.events if end is not None else ()
        for one in wanted:
            if one not in known and one is not Done:
                names = ", ".join(each.__name__ for each in known) or "nothing, so that Done stands for its end"
                raise DefinitionError(
                    f"bus.run({flow.__name__}): it never ends with {one.__name__}; at its end it says {names}"
                )
    elif isinstance(definition, CompiledMachine):
        known += definition.chart.published
    every: list[type[Event]] = [*known, *wanted, Done]
    return {spec_of(each).type: each for each in every}


def _read_end(run: _Run, answer: Envelope, classes: dict[str, type[Event]], wanted: tuple[type[Event], ...]) -> Event:
    """The end event, or the error that says why there is none."""
    status = answer.get(STATUS) or ""
    if answer.type == spec_of(StepRefused).type:
        refused = answer.value(StepRefused)
        raise FlowRefusedError(f"{run.label}: not started: {refused.note}", instance=run.instance)
    if answer.type == spec_of(FlowFailed).type:
        failed = answer.value(FlowFailed)
        raise FlowFailedError(
            f"{run.label}: instance {run.instance} was undone: {failed.reason}", instance=run.instance, status=status
        )
    cls = classes.get(answer.type)
    try:
        event = answer.value(cls) if cls is not None else None
    except DecodeError as error:
        text = f"{run.label}: instance {run.instance} is {status}, and what it said cannot be read: {error}"
        raise FlowFailedError(text, instance=run.instance, status=status) from error
    if event is None or (wanted and not isinstance(event, wanted)):
        text = f"{run.label}: instance {run.instance} is {status}, and ended with {answer.type}"
        raise FlowFailedError(text, instance=run.instance, status=status, event=event)
    return event
