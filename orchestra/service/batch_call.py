"""How is a batch handler called, once? With values, context, thread and deadline, as any handler."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from orchestra.errors import DefinitionError
from orchestra.service.batch_context import BatchContext, Item
from orchestra.service.binding import Binding
from orchestra.service.deadline import Deadlines
from orchestra.service.deployment import Deployment
from orchestra.service.outcome import Cause, Result, records
from orchestra.service.reserving import reserve
from orchestra.service.share import Worker
from orchestra.service.threads import Reservation
from orchestra.transport.port import Outgoing


class BatchCall:
    """Calls the batch handlers of one service."""

    def __init__(self, deployment: Deployment, deadlines: Deadlines) -> None:
        self._here = deployment
        self._deadlines = deadlines

    async def attempt(self, binding: Binding, items: Sequence[Item], worker: Worker, attempt: int) -> BatchContext:
        """One try. Gives the context, which says what failed and what is to be published."""
        worker.handler = binding.name
        context = BatchContext(items, binding.site, attempt)
        reservation: Reservation | None = None
        try:
            if binding.threads is not None:
                reservation = await reserve(binding.threads, context, worker)
            if binding.timeout is not None:
                context.until = self._deadlines.begin(worker, binding.timeout)
            returned = await binding.invoke([item.value for item in items], context)
        except asyncio.CancelledError as cancelled:
            if (cause := self._deadlines.cause_of_cancellation(worker, binding.timeout)) is not None:
                raise cause from cancelled
            raise
        finally:
            if worker.deadline is not None:
                self._deadlines.end(worker)
            if reservation is not None:
                reservation.leave()
        if returned is not None:
            raise DefinitionError(
                f"handler {binding.name} returned a {type(returned).__qualname__}: a batch handler returns None, and"
                " emits with ctx.publish(message, of=event)"
            )
        return context

    def outgoing(self, context: BatchContext, place: int) -> list[Outgoing]:
        """What to publish for one event of a batch: nothing, where it failed."""
        messages = context.emitted.get(place)
        if not messages or place in context.failures:
            return []
        event = context.envelope(place)
        cause = Cause(
            event, context.effect_id(place), context.handler, self._here.source, context.now(), self._here.hop_limit
        )
        return records(cause, Result(None, messages), self._here.topic)
