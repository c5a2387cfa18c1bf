"""How does a test say that a flow ends as it must, whatever happens? ``prove(FoodOrder)``."""

from __future__ import annotations

from typing import Any

from orchestra.clock import SystemClock
from orchestra.flows.check.prove import DEFAULT_LIMIT, Report, check_definition
from orchestra.flows.machine.declare import StateMachine
from orchestra.flows.saga import Flow, definition_of

__all__ = ["Report", "prove"]


def prove(
    flow: type[Flow] | type[StateMachine[Any]], /, *, limit: int = DEFAULT_LIMIT, seconds: float = 60.0
) -> Report:
    """Go through everything that may happen to an instance, as ``orchestra check`` does. Blocks; needs no event loop.

    Args:
        flow: a flow's or machine's class.
        limit: states after which to give up.
        seconds: time after which to give up.

    Returns:
        How much there was to go through, and warnings.

    Raises:
        AssertionError: a rule is broken (the text is the shortest history that shows it), a mistake was found, or not
            everything was gone through.
        NoSampleError: a message cannot be made from its class alone; says where to give an example.
    """
    __tracebackhide__ = True
    report = check_definition(definition_of(flow), limit=limit, seconds=seconds, elapsed=SystemClock().elapsed)
    if report.violation is not None:
        raise AssertionError(f"{report.violation.story}\n\n{report.violation.test}")
    if report.verdict == "violation":
        mistakes = [f"{one.place}: {one.code}: {one.text}" for one in report.findings if one.level == "mistake"]
        raise AssertionError("\n".join(mistakes))
    if report.verdict != "proved":
        raise AssertionError(f"{report.label}: {report.states:,} states were explored, not all: no violation so far")
    return report
