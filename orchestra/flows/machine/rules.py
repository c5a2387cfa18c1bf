"""Which machines make no sense? Rules about states and what leads to and from them, each with its remedy."""

from __future__ import annotations

from collections.abc import Iterator

from orchestra.errors import DefinitionError
from orchestra.flows.machine.chart import Chart, ChartState, Transition


def check_chart(chart: Chart) -> None:
    """Raises DefinitionError for a chart that cannot work, or in which something can never happen."""
    _check_initial(chart, "the machine", None, chart.roots)
    for state in chart.states.values():
        place = f"{chart.label}.{state.name}"
        _check_kind(chart, place, state)
        _check_order(place, state)
        _check_way_out(chart, place, state)
    _check_reachable(chart)


def _check_initial(chart: Chart, where: str, within: ChartState | None, children: tuple[str, ...]) -> None:
    first = [name for name in children if chart.states[name].initial]
    if within is not None and within.parallel:
        if first:
            raise DefinitionError(
                f"{chart.label}.{first[0]}: all states within a parallel one are entered; take initial=True away"
            )
        return
    if len(first) != 1:
        have = "none is" if not first else f"{' and '.join(first)} are"
        raise DefinitionError(
            f"{chart.label}: one state of {where} is entered first, and {have} marked; add initial=True to one of "
            f"{', '.join(children)}"
        )


def _check_kind(chart: Chart, place: str, state: ChartState) -> None:
    if state.final and (state.children or state.parallel):
        raise DefinitionError(f"{place}: a final state has no states within; take final=True away")
    if state.final and (state.transitions or state.surplus):
        raise DefinitionError(f"{place}: nothing leads out of a final state; take its transitions or final=True away")
    if state.final and state.exits:
        raise DefinitionError(f"{place}: a final state is not left; do it on entry")
    if state.failed and (not state.final or state.parent is not None):
        raise DefinitionError(f"{place}: failed=True is said of a final state of the whole machine")
    if state.parallel and len(state.children) < 2:
        raise DefinitionError(f"{place}: parallel=True needs two states within at least: x = state({state.name})")
    if state.parent is not None and state.final and chart.states[state.parent].parallel:
        raise DefinitionError(f"{place}: a region is no final state; put a final state within the region")
    if state.children:
        _check_initial(chart, state.name, state, state.children)
    has_final = any(chart.states[child].final for child in state.children)
    if f"done:{state.name}" in state.transitions and not (has_final or state.parallel):
        raise DefinitionError(
            f"{place}.done: it is done when a final state within it is reached, and there is none; add one"
        )
    if state.final and state.parent is not None and any(not hasattr(one, "gives") for one in state.entries):
        raise DefinitionError(
            f"{place}: a final state within another waits for nothing: send commands and run flows elsewhere"
        )


def _check_order(place: str, state: ChartState) -> None:
    """The first transition whose guard says yes is taken: behind one without a guard, none ever is."""
    for many in state.transitions.values():
        for one in many[:-1]:
            if one.when is None and not one.trigger.startswith("after:"):
                raise DefinitionError(
                    f"{place}: {_said(one)} is declared again behind one that has no guard, and would never be taken; "
                    f"give the first one when=..., or put it last"
                )
    for kind in state.surplus:
        if any(one.when is None for one in state.transitions.get(f"event:{kind}", ())):
            raise DefinitionError(f"{place}: {kind} always has a transition here, so it is never unexpected")


def _said(one: Transition) -> str:
    return one.label or "always"


def _check_way_out(chart: Chart, place: str, state: ChartState) -> None:
    """Nobody would notice a machine that waits for nothing."""
    if state.final or state.children:
        return
    around = [state, *(chart.states[name] for name in state.ancestors)]
    if any(each.parallel for each in around):
        return  # another region may lead out of them all
    if not any(one.to is not None for each in around for many in each.transitions.values() for one in many):
        raise DefinitionError(f"{place}: nothing leads out of it; add a transition with to=..., or make it final=True")


def _check_reachable(chart: Chart) -> None:
    found: set[str] = set()
    waiting = [name for name in chart.roots if chart.states[name].initial]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        waiting += _next(chart, chart.states[name])
    for name in chart.states:
        if name not in found:
            raise DefinitionError(f"{chart.label}.{name}: nothing leads to it; name it in a to=..., or take it away")


def _next(chart: Chart, state: ChartState) -> Iterator[str]:
    yield from state.ancestors
    for around in state.ancestors:
        if chart.states[around].parallel:
            yield from chart.states[around].children
    yield from (name for name in state.children if state.parallel or chart.states[name].initial)
    for many in state.transitions.values():
        yield from (one.to for one in many if one.to is not None)
