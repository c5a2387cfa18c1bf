"""What can a program do with flows? Start one and wait for its end, cancel, signal and query a running instance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from orchestra.duration import Duration, seconds
from orchestra.events.message import Event

if TYPE_CHECKING:
    # Programs that only publish load none of this.
    from orchestra.bus.flow_calls import FlowCalls
    from orchestra.flows.machine.declare import StateMachine
    from orchestra.flows.query import FlowQuery
    from orchestra.flows.saga import Flow

E = TypeVar("E", bound=Event)
F = TypeVar("F", bound=Event)
T = TypeVar("T")


class BusOfFlows:
    """The part of a bus that is about flows."""

    def _flows(self) -> FlowCalls:
        raise NotImplementedError

    def _call(self) -> Any:
        raise NotImplementedError

    @overload
    async def run(
        self,
        flow: type[Flow] | type[StateMachine[Any]],
        start: Event,
        /,
        *,
        timeout: Duration,
        correlation_id: str | None = None,
    ) -> Event: ...
    @overload
    async def run(
        self,
        flow: type[Flow] | type[StateMachine[Any]],
        start: Event,
        /,
        *,
        timeout: Duration,
        yields: type[E],
        correlation_id: str | None = None,
    ) -> E: ...
    @overload
    async def run(
        self,
        flow: type[Flow] | type[StateMachine[Any]],
        start: Event,
        /,
        *,
        timeout: Duration,
        yields: tuple[type[E], type[F]],
        correlation_id: str | None = None,
    ) -> E | F: ...
    async def run(
        self,
        flow: type[Flow] | type[StateMachine[Any]],
        start: Event,
        /,
        *,
        timeout: Duration,
        yields: Any = (),
        correlation_id: str | None = None,
    ) -> Any:
        """Start an instance by its start event, and return the event that it publishes at its end.

        The event goes to its topic, where all who care about it see it. If the instance is there already and was
        started with the same content, this waits for its end; if it is over and still remembered, that comes at once.
        So a run that timed out is waited for again by the same call.

        Returns the end event whichever it is, also one of ``@on_compensated``; :class:`Done` for a flow that completes
        and says nothing. Where it says several events, the first. A halted flow is not over: it waits for an operator.

        Safe to cancel: the instance goes on.

        Args:
            timeout: how long to wait in all.
            yields: the end event that is wanted, or two of them; any other is an error.
            correlation_id: what all of it belongs to. Default: the event's id.

        Raises:
            FlowTimeoutError: it is not over in time; the instance goes on.
            FlowFailedError: it was undone and says nothing; or its end event is another one than ``yields``.
            FlowRefusedError: the instance is there already, started with another content. Nothing was done.
            TopicError, UnreachableError, RecordTooLargeError, AccessDeniedError: the event could not be sent.
            DefinitionError: the event does not start the flow, or the flow never ends with ``yields``.
            ClosedError: the bus is not open.
        """
        wanted = yields if isinstance(yields, tuple) else (yields,)
        with self._call():
            return await self._flows().run(
                flow, start, limit=seconds(timeout), wanted=wanted, correlation_id=correlation_id
            )

    async def cancel(
        self,
        flow: type[Flow] | type[StateMachine[Any]],
        key: str,
        /,
        *,
        reason: str,
        by: str,
        timeout: Duration = "30s",
    ) -> None:
        """Stop an instance, and have undone what it did. Returns when the instance has taken the request, not when all
        is undone. The bus must know the flow's coordinator: ``connect(coordinators=[...])``.

        Args:
            key: the business key.
            reason, by: why, and who asks: kept in the journal.
            timeout: how long to wait for the instance's word.

        Raises:
            FlowRefusedError: it cannot be cancelled any more; the text says why.
            InstanceUnknownError: there is no such instance.
            FlowTimeoutError: it did not answer in time. It may still be cancelled.
            TransportError: as for ``publish``. DefinitionError: no coordinator is known. ClosedError.
        """
        with self._call():
            await self._flows().cancel(flow, key, by=by, reason=reason, limit=seconds(timeout))

    async def signal(self, flow: type[Flow] | type[StateMachine[Any]], key: str, event: Event, /) -> None:
        """Give an event to an instance that waits, or will wait, for it: as if it had come from its topic, but for this
        instance alone. All replicas have it when this returns.

        An event for an instance that has not started is kept for a while (``Coordinator(early=...)``), and is a dead
        letter then. The bus must know the flow's coordinator: ``connect(coordinators=[...])``.

        Raises:
            DefinitionError: the flow has no wait for such events, or no coordinator is known.
            TransportError: as for ``publish``. EncodeError. ClosedError.
        """
        with self._call():
            await self._flows().signal(flow, key, event)

    async def query(self, question: FlowQuery[T], key: str, /) -> T:
        """Ask an instance something, by a method of its flow under ``@query``: ``query(FoodOrder.progress, "o-1")``.

        The answer comes from the newest durable record; the instance is not disturbed. The first query of a shard reads
        its state topic once; later ones read what is new. The bus must know the flow's coordinator:
        ``connect(coordinators=[...])``.

        Raises:
            InstanceUnknownError: there is no such instance, or it has not started yet.
            FlowQueryError: what the query wants to know is not there, or not any more.
            TransportError: the state topic could not be read. DefinitionError: no coordinator is known. ClosedError.
        """
        with self._call():
            return await self._flows().query(question, key)
