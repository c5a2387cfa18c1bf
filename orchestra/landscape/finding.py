"""What is wrong in a landscape? What nobody reacts to, what nobody sends, and what could go round for ever. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from orchestra.landscape.actor import Landscape, Signal, matches_any, reacts_to


class FindingKind(StrEnum):
    """What is wrong. Stable: scripts filter by it."""

    EVENT_UNHANDLED = "event.unhandled"
    COMMAND_UNHANDLED = "command.unhandled"
    COMMAND_UNSENT = "command.unsent"
    CIRCLE = "circle"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        about: the types that it is about; those of a circle in their order.
        where: the handlers and places in flows that it is about; those of a circle in their order.
        text: a sentence for a person.
    """

    kind: FindingKind
    about: tuple[str, ...]
    where: tuple[str, ...]
    text: str


def find(landscape: Landscape, *, outside: Sequence[str] = ()) -> list[Finding]:
    """What is wrong.

    Args:
        landscape: what was looked at.
        outside: patterns of types that others, who were not looked at, send or react to.
    """
    return [*_unanswered(landscape, outside), *_unsent(landscape, outside), *_circles(landscape)]


def _unanswered(landscape: Landscape, outside: Sequence[str]) -> Iterator[Finding]:
    for signal in landscape.signals:
        where = _who_gives(landscape, signal)
        if not where or landscape.takers(signal) or matches_any(outside, signal.type):
            continue
        if signal.is_command:
            text = f"nobody handles the command {signal.label} ({signal.type}), which {_and(where)} may send"
            yield Finding(FindingKind.COMMAND_UNHANDLED, (signal.type,), where, text)
        else:
            text = f"nobody reacts to {signal.label} ({signal.type}), which {_and(where)} may publish"
            yield Finding(FindingKind.EVENT_UNHANDLED, (signal.type,), where, text)


def _unsent(landscape: Landscape, outside: Sequence[str]) -> Iterator[Finding]:
    for signal in landscape.signals:
        if not signal.is_command or landscape.givers(signal) or matches_any(outside, signal.type):
            continue
        where = tuple(reaction.name for _, reaction in landscape.reactions() if reacts_to(reaction, signal))
        text = f"nobody sends the command {signal.label} ({signal.type}), which {_and(where)} handles"
        yield Finding(FindingKind.COMMAND_UNSENT, (signal.type,), where, text)


def _who_gives(landscape: Landscape, signal: Signal) -> tuple[str, ...]:
    return tuple(
        reaction.name
        for _, reaction in landscape.reactions()
        if any(one.type == signal.type for one in reaction.follows)
    )


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# ---- circles


def _circles(landscape: Landscape) -> Iterator[Finding]:
    """The shortest circle through each signal that is on one; of equal circles one."""
    ways = _ways(landscape)
    labels = {signal.type: signal.label for signal in landscape.signals}
    seen: set[frozenset[str]] = set()
    for kind in sorted(ways):
        circle = _shortest(kind, ways)
        if not circle or frozenset(circle) in seen:
            continue
        seen.add(frozenset(circle))
        where = tuple(ways[one][other] for one, other in zip(circle, (*circle[1:], circle[0]), strict=True))
        told = " ".join(f"{labels[one]}, to which {name} reacts with" for one, name in zip(circle, where, strict=True))
        text = f"this could go round for ever: {told} {labels[circle[0]]} again"
        yield Finding(FindingKind.CIRCLE, circle, where, text)


def _ways(landscape: Landscape) -> dict[str, dict[str, str]]:
    """Type -> each type that may follow from it -> the first reaction by which."""
    ways: dict[str, dict[str, str]] = {}
    for signal in landscape.signals:
        for _, reaction in landscape.reactions():
            if reacts_to(reaction, signal):
                for following in reaction.follows:
                    ways.setdefault(signal.type, {}).setdefault(following.type, reaction.name)
    return ways


def _shortest(start: str, ways: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
    """The shortest way from a type back to itself; () where there is none."""
    before: dict[str, str] = {}
    waiting = deque([start])
    while waiting:
        at = waiting.popleft()
        for following in ways.get(at, ()):
            if following == start:
                return _back(at, start, before)
            if following not in before:
                before[following] = at
                waiting.append(following)
    return ()


def _back(at: str, start: str, before: Mapping[str, str]) -> tuple[str, ...]:
    path = [at]
    while path[-1] != start:
        path.append(before[path[-1]])
    return tuple(reversed(path))
