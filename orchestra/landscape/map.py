"""What does a landscape look like? Services and flows, the events between them, and what is wrong in red."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestra.flows.picture import Line, LineKind, Picture, Shape, ShapeKind
from orchestra.landscape.actor import Actor, Landscape, Signal
from orchestra.landscape.finding import Finding, FindingKind

_MOST = 4
"""So many names are written beside a line; the rest are counted."""


def map_of(landscape: Landscape, findings: Sequence[Finding], *, title: str) -> Picture:
    """The picture: an arrow from who publishes to the event, from the event to who reacts; a command is an arrow."""
    drawing = _Drawing(landscape, findings)
    nodes = [*map(_shape, landscape.actors), *drawing.events(), *drawing.loose_commands()]
    counts = {"service": 0, "flow": 0}
    for actor in landscape.actors:
        counts[actor.kind] += 1
    return Picture(
        title=title,
        subtitle=f"services: {counts['service']}, flows: {counts['flow']}, findings: {len(findings)}",
        nodes=nodes,
        edges=[*drawing.lines(), *drawing.commands()],
        notes=[finding.text[:1].upper() + finding.text[1:] + "." for finding in findings],
        is_wide=True,
    )


def _shape(actor: Actor) -> Shape:
    kind = ShapeKind.SERVICE if actor.kind == "service" else ShapeKind.FLOW
    return Shape(id=_id(actor), label=actor.name, kind=kind)


def _id(actor: Actor) -> str:
    return f"{actor.kind}:{actor.name}"


class _Drawing:
    """What of a landscape is drawn, and what of it in red."""

    def __init__(self, landscape: Landscape, findings: Sequence[Finding]) -> None:
        self._landscape = landscape
        self._unhandled = {one.about[0] for one in findings if one.kind is not FindingKind.CIRCLE}
        self._circles = [one for one in findings if one.kind is FindingKind.CIRCLE]

    def events(self) -> Iterator[Shape]:
        for signal in self._landscape.signals:
            if signal.is_command:
                continue
            is_given, is_taken = self._landscape.givers(signal), self._landscape.takers(signal)
            caption = "event" if is_given and is_taken else "event from outside" if is_taken else "event for outside"
            yield self._signal_shape(signal, ShapeKind.EVENT, caption, "nobody reacts")

    def loose_commands(self) -> Iterator[Shape]:
        """Commands that nobody sends, or nobody handles; others are lines."""
        for signal in self._landscape.signals:
            if signal.is_command and not (self._landscape.givers(signal) and self._landscape.takers(signal)):
                is_sent = bool(self._landscape.givers(signal))
                caption = "command for outside" if is_sent else "command from outside"
                wrong = "nobody handles it" if is_sent else "nobody sends it"
                yield self._signal_shape(signal, ShapeKind.COMMAND, caption, wrong)

    def _signal_shape(self, signal: Signal, kind: ShapeKind, caption: str, wrong: str) -> Shape:
        is_wrong = signal.type in self._unhandled
        return Shape(
            id=signal.type,
            label=signal.label,
            kind=ShapeKind.TROUBLE if is_wrong else kind,
            caption=f"{kind}: {wrong}" if is_wrong else caption,
            detail=(signal.topic,) if signal.topic and signal.topic != signal.label else (),
        )

    def lines(self) -> Iterator[Line]:
        for signal in self._landscape.signals:
            givers, takers = self._landscape.givers(signal), self._landscape.takers(signal)
            if signal.is_command and givers and takers:
                continue
            for actor in givers:
                yield Line(start=_id(actor), end=signal.type, kind=self._kind(signal, actor, gives=True))
            for actor in takers:
                yield Line(start=signal.type, end=_id(actor), kind=self._kind(signal, actor, gives=False))

    def commands(self) -> Iterator[Line]:
        """One line from each sender to each handler."""
        pairs: dict[tuple[str, str], list[Signal]] = {}
        for signal in self._landscape.signals:
            if signal.is_command:
                for sender in self._landscape.givers(signal):
                    for taker in self._landscape.takers(signal):
                        pairs.setdefault((_id(sender), _id(taker)), []).append(signal)
        for (start, end), signals in pairs.items():
            names = [signal.label for signal in signals]
            more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
            wrong = any(signal.type in circle.about for signal in signals for circle in self._circles)
            kind = LineKind.TROUBLE if wrong else LineKind.TIMER
            yield Line(start=start, end=end, label=", ".join(names[:_MOST]) + more, kind=kind)

    def _kind(self, signal: Signal, actor: Actor, *, gives: bool) -> LineKind:
        """Red where it is part of a circle."""
        names = {reaction.name for reaction in actor.reactions}
        for circle in self._circles:
            for place, kind in enumerate(circle.about):
                by = circle.where[place - 1 if gives else place]
                if kind == signal.type and by in names:
                    return LineKind.TROUBLE
        return LineKind.TROUBLE if gives and signal.type in self._unhandled else LineKind.NEXT
