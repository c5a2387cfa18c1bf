"""What takes part in a system of events? Services and flows, and what each does when something comes: plain values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from orchestra.service.wildcard import matcher


@dataclass(frozen=True, slots=True)
class Signal:
    """An event or a command, as a type.

    Attributes:
        type: of the CloudEvent.
        label: the class, for people.
        topic: as declared; None where nobody declared one.
    """

    type: str
    label: str
    topic: str | None
    is_command: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """What one handler, or one place in a flow, does when something comes.

    Attributes:
        name: ``<service>.<function>``, or ``<flow>.<node>``.
        takes: what makes it act.
        patterns: of types that make it act too.
        gives: what may follow from that, as it declares.
        perhaps: what may follow too, going by the names in its code: ``ctx.publish`` declares nothing.
    """

    name: str
    takes: tuple[Signal, ...] = ()
    patterns: tuple[str, ...] = ()
    gives: tuple[Signal, ...] = ()
    perhaps: tuple[Signal, ...] = ()

    @property
    def follows(self) -> tuple[Signal, ...]:
        """All that may follow from it."""
        return tuple(dict.fromkeys((*self.gives, *self.perhaps)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A service, or a flow."""

    name: str
    kind: Literal["service", "flow"]
    reactions: tuple[Reaction, ...] = ()

    def takes(self, signal: Signal) -> bool:
        """Whether it reacts to it."""
        return any(reacts_to(reaction, signal) for reaction in self.reactions)

    def gives(self) -> tuple[Signal, ...]:
        """All that may come from it."""
        return tuple(dict.fromkeys(signal for reaction in self.reactions for signal in reaction.follows))


@dataclass(frozen=True)
class Landscape:
    """Everything that was looked at."""

    actors: Sequence[Actor]

    @cached_property
    def signals(self) -> Sequence[Signal]:
        """All events and commands that somebody gives or takes, each type once."""
        found = {signal.type: signal for signal in self._signals()}
        return [found[kind] for kind in sorted(found)]

    def _signals(self) -> Iterator[Signal]:
        for _, reaction in self.reactions():
            yield from reaction.takes
            yield from reaction.follows

    def reactions(self) -> Iterator[tuple[Actor, Reaction]]:
        """Each reaction with whose it is."""
        for actor in self.actors:
            for reaction in actor.reactions:
                yield actor, reaction

    def givers(self, signal: Signal) -> list[Actor]:
        """Who may send it."""
        return [actor for actor in self.actors if any(one.type == signal.type for one in actor.gives())]

    def takers(self, signal: Signal) -> list[Actor]:
        """Who reacts to it."""
        return [actor for actor in self.actors if actor.takes(signal)]


def reacts_to(reaction: Reaction, signal: Signal) -> bool:
    """Whether a signal of that type makes it act."""
    if any(one.type == signal.type for one in reaction.takes):
        return True
    return not signal.is_command and matches_any(reaction.patterns, signal.type)


def matches_any(patterns: Iterable[str], kind: str) -> bool:
    """Whether a type is one that a pattern stands for."""
    return any(matcher(pattern)(kind) for pattern in patterns)
