"""Does a step wait as long as its handler may try? A step that gives up earlier calls unknown what is only slow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from orchestra.duration import seconds

if TYPE_CHECKING:
    from orchestra.app import App
    from orchestra.flows.check.findings import Finding
    from orchestra.flows.decision import Definition
    from orchestra.service.handler import Handler


def patience_findings(definition: Definition, app: App) -> Iterator[Finding]:
    """Steps whose time is up before their handler in this app has used up its retries."""
    from orchestra.events.message import spec_of
    from orchestra.flows.check.findings import Finding
    from orchestra.flows.decide import CompiledFlow
    from orchestra.flows.graph import StepNode

    if not isinstance(definition, CompiledFlow):
        return
    handlers = {kind: handler for service in app.services for kind, handler in service.commands.items()}
    for node in definition.graph.nodes.values():
        if not isinstance(node, StepNode) or node.timeout is None:
            continue
        handler = handlers.get(spec_of(node.command).type)
        if handler is not None and (longest := longest_time(handler)) > node.timeout:
            text = (
                f"it waits {node.timeout:g} s for {handler.name}, which may go on trying for {longest:g} s: the step "
            )
            text += "gives up what is only slow. Raise timeout=, or lower the handler's retry"
            yield Finding("warning", "timeout below retries", f"{definition.graph.label}.{node.name}", text)


def longest_time(handler: Handler) -> float:
    """Seconds from its first try to the end of its last, where each takes as long as it may."""
    retry = handler.retry
    waits = sum(retry.longest_delay(attempt) for attempt in range(2, retry.attempts + 1))
    waits += sum(seconds(delay) for delay in retry.later)
    return waits + (handler.timeout or 0.0) * (retry.attempts + len(retry.later))
