"""What does a state machine look like? States as boxes, states with states inside as frames, transitions as arrows."""

from __future__ import annotations

from collections.abc import Iterator

from orchestra.duration import in_words
from orchestra.flows.flow_picture import START, message_name, rule_name, summary_of, words
from orchestra.flows.machine.chart import Ask, Chart, ChartState, Method, Run, Send, Transition
from orchestra.flows.picture import Group, GroupKind, Line, LineKind, Part, PartKind, Picture, Shape, ShapeKind

_UNEXPECTED = {
    "ignore": "An event that no active state has an arrow for is ignored, with a line in the journal.",
    "defer": "An event that no active state has an arrow for is kept until one has.",
    "reject": "An event that no active state has an arrow for raises an alert.",
}


def picture_of_machine(chart: Chart) -> Picture:
    """The picture of a machine: its states, what they do, and what leads from one to another."""
    return Picture(
        title=f"{chart.name}, version {chart.version}",
        subtitle=summary_of(chart.owner),
        nodes=list(_shapes(chart)),
        groups=list(_groups(chart)),
        edges=list(_lines(chart)),
        notes=[_UNEXPECTED[chart.unexpected]],
    )


# ---- states


def _shapes(chart: Chart) -> Iterator[Shape]:
    yield Shape(
        id=START, label=" or ".join(message_name(event) for event in chart.starts.values()), kind=ShapeKind.START
    )
    for state in chart.states.values():
        if state.children:
            if not state.parallel:
                yield Shape(id=_dot(state.name), label="", kind=ShapeKind.INITIAL, group=state.name)
        else:
            yield _box(chart, state)


def _box(chart: Chart, state: ChartState) -> Shape:
    kind = ShapeKind.BAD_END if state.failed else ShapeKind.FINAL if state.final else ShapeKind.STATE
    return Shape(
        id=state.name,
        label=words(state.name),
        kind=kind,
        detail=list(_stays(chart, state)),
        parts=list(_parts(state)),
        group=state.parent,
        caption="final, failed" if state.failed else None,
    )


def _groups(chart: Chart) -> Iterator[Group]:
    for state in chart.states.values():
        if state.children:
            is_region = state.parent is not None and chart.states[state.parent].parallel
            beside = ["all at once"] if state.parallel else []
            yield Group(
                id=state.name,
                label=words(state.name),
                kind=GroupKind.REGION if is_region else GroupKind.STATE,
                detail=[
                    *beside,
                    *(part.label for part in _parts(state)),
                    *_stays(chart, state),
                    *_inward(chart, state),
                ],
                parent=state.parent,
            )


def _dot(name: str) -> str:
    return f"!{name}"


def _parts(state: ChartState) -> Iterator[Part]:
    for one in state.entries:
        if isinstance(one, Send):
            yield Part(label=f"sends {message_name(one.command)}", kind=PartKind.ENTRY, name=one.name)
        elif isinstance(one, Run):
            yield Part(label=f"runs the flow {one.flow}", kind=PartKind.ENTRY, name=one.name)
        elif isinstance(one, Ask):
            yield Part(label=f"asks a {one.role}", kind=PartKind.ENTRY, name=one.name)
        elif said := _said(one):
            yield Part(label=said, kind=PartKind.ENTRY)
    for each in state.exits:
        if isinstance(each, Send):
            label = f"sends {message_name(each.command)}"
            yield Part(label=label, kind=PartKind.EXIT, name=each.name)
        elif said := _said(each):
            yield Part(label=said, kind=PartKind.EXIT)


def _said(method: Method) -> str:
    return ", ".join(f"publishes {message_name(event)}" for event in method.events)


def _stays(chart: Chart, state: ChartState) -> Iterator[str]:
    """The transitions that lead nowhere, and the events that it defers, ignores or rejects."""
    for many in state.transitions.values():
        yield from (f"{_on(one)}: stays" for one in many if one.to is None)
    for kind, policy in state.surplus.items():
        yield f"{policy}s {message_name(chart.events[kind])}"


def _inward(chart: Chart, state: ChartState) -> Iterator[str]:
    """The transitions to a state inside: no arrow could be told from one of a state inside."""
    for many in state.transitions.values():
        yield from (f"{_on(one)}: to {words(one.to)}" for one in many if one.to and _is_inward(chart, one))


def _is_inward(chart: Chart, one: Transition) -> bool:
    return one.to is not None and one.source in chart.states[one.to].ancestors


# ---- transitions


def _lines(chart: Chart) -> Iterator[Line]:
    for name in chart.roots:
        if chart.states[name].initial:
            yield Line(start=START, end=name)
    for state in chart.states.values():
        if state.children and not state.parallel:
            first = next(child for child in state.children if chart.states[child].initial)
            yield Line(start=_dot(state.name), end=first)
        for many in state.transitions.values():
            for one in many:
                if one.to is not None and not _is_inward(chart, one):
                    yield Line(start=state.name, end=one.to, label=_on(one), kind=_kind(one))


def _kind(one: Transition) -> LineKind:
    if one.trigger.startswith("after:"):
        return LineKind.TIMER
    return (
        LineKind.UNDO if one.trigger.startswith(("failed:", "rejected:")) or one.trigger == "cancel" else LineKind.NEXT
    )


def _on(one: Transition) -> str:
    """What triggers it, in words."""
    if one.delay is None:
        said = words(one.label) or "at once"
    elif callable(one.delay):
        said = f"after {rule_name(one.delay)}"
    else:
        said = f"after {in_words(one.delay)}"
    return said if one.when is None else f"{said}, if {rule_name(one.when)}"
