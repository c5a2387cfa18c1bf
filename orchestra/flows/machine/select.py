"""Which transitions does a trigger enable, what do they leave, and what do they enter? As the SCXML recommendation
says (its appendix D), without history."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from orchestra.flows.machine.chart import Chart, ChartState, Transition
from orchestra.flows.machine.state import Unexpected

Guard = Callable[[Transition], bool]


@dataclass(slots=True)
class Selected:
    """What a trigger finds. ``policies``: what states said that have no transition for it."""

    transitions: list[Transition] = field(default_factory=list[Transition])
    policies: set[Unexpected] = field(default_factory=set[Unexpected])
    guarded: bool = False
    """There are transitions for it, and their guards say no."""


def select(chart: Chart, active: Collection[str], trigger: str, guard: Guard) -> Selected:
    """The transitions that a trigger enables: innermost state first, then document order, one for each region."""
    found = Selected()
    kind = trigger[6:] if trigger.startswith("event:") else None
    for name in in_order(chart, active):
        state = chart.states[name]
        if state.children:
            continue
        if (one := _first(chart, state, trigger, kind, guard, found)) is not None and one not in found.transitions:
            found.transitions.append(one)
    if len(found.transitions) > 1:
        found.transitions = _without_conflicts(chart, active, found.transitions)
    return found


def _first(
    chart: Chart, state: ChartState, trigger: str, kind: str | None, guard: Guard, found: Selected
) -> Transition | None:
    for name in (state.name, *state.ancestors):
        around = chart.states[name]
        for one in around.transitions.get(trigger, ()):
            if one.when is None or guard(one):
                return one
            found.guarded = True
        if kind is not None and kind in around.surplus:
            found.policies.add(around.surplus[kind])
            return None
    return None


def _without_conflicts(chart: Chart, active: Collection[str], enabled: Sequence[Transition]) -> list[Transition]:
    """Two transitions that would leave the same state cannot both be taken: the one further inside wins, else the
    earlier one."""
    kept: list[Transition] = []
    for one in enabled:
        leaves = set(exits(chart, active, one))
        rivals = [other for other in kept if leaves.intersection(exits(chart, active, other))]
        if all(other.source in chart.states[one.source].ancestors for other in rivals):
            kept = [other for other in kept if other not in rivals]
            kept.append(one)
    return kept


def in_order(chart: Chart, names: Iterable[str]) -> list[str]:
    """Document order."""
    return sorted(names, key=lambda name: chart.states[name].order)


def domain(chart: Chart, one: Transition) -> str | None:
    """The innermost state around source and target that stays active; None: the whole machine. Regions of a parallel
    state are never changed one for another, so a parallel state is none."""
    assert one.to is not None
    around = chart.states[one.to].ancestors
    for name in chart.states[one.source].ancestors:
        if name in around and not chart.states[name].parallel:
            return name
    return None


def exits(chart: Chart, active: Collection[str], one: Transition) -> list[str]:
    """The active states that a transition leaves."""
    if one.to is None:
        return []
    stays = domain(chart, one)
    return [name for name in active if stays is None or stays in chart.states[name].ancestors]


def entries(chart: Chart, taken: Iterable[Transition]) -> list[str]:
    """The states that these transitions enter, outer ones first."""
    found: set[str] = set()
    for one in taken:
        if one.to is None:
            continue
        _down(chart, one.to, found)
        stays = domain(chart, one)
        for name in chart.states[one.to].ancestors:
            if name == stays:
                break
            found.add(name)
            if chart.states[name].parallel:
                _regions(chart, name, found)
    return in_order(chart, found)


def first_entries(chart: Chart) -> list[str]:
    """The states that a new instance enters."""
    found: set[str] = set()
    for name in chart.roots:
        if chart.states[name].initial:
            _down(chart, name, found)
    return in_order(chart, found)


def _down(chart: Chart, name: str, found: set[str]) -> None:
    found.add(name)
    state = chart.states[name]
    if state.parallel:
        _regions(chart, name, found)
    else:
        for child in state.children:
            if chart.states[child].initial:
                _down(chart, child, found)


def _regions(chart: Chart, name: str, found: set[str]) -> None:
    for child in chart.states[name].children:
        if child not in found:
            _down(chart, child, found)


def is_done(chart: Chart, active: Collection[str], name: str) -> bool:
    """Whether a state with states inside has reached its end: a final state, or one in each region."""
    state = chart.states[name]
    if state.parallel:
        return all(is_done(chart, active, child) for child in state.children)
    return any(chart.states[child].final and child in active for child in state.children)
