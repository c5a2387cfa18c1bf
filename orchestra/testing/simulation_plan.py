"""What goes wrong in one run of a simulation? Faults, drawn from a seed, each tied to the moment that it breaks.

A moment is a count and no time: the n-th step of any process (what runs between two awaits), or the n-th record that is
sent. So a fault hits every await with equal chance, and a plan with a fault taken out is a plan again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

Kind = Literal[
    "crash",
    "pause",
    "move",
    "clock",
    "outage",
    "commit",
    "lost",
    "unanswered",
    "late",
    "slow",
    "repeated",
]

STEP_KINDS: Final[tuple[Kind, ...]] = ("crash", "crash", "crash", "pause", "pause", "move", "clock", "outage", "commit")
RECORD_KINDS: Final[tuple[Kind, ...]] = ("lost", "unanswered", "unanswered", "late", "late", "slow", "repeated")
_NUMBERS: Final = (0, 1, 1, 1, 2, 2, 3, 4)
"""How many faults a run may have: few, for most bugs need one or two, and what needs more is found all the same."""

_SAYS: Final[dict[Kind, str]] = {
    "crash": "{who} dies; it is started again {seconds:.1f} s later",
    "pause": "{who} stands still for {seconds:.1f} s{other}",
    "move": "another process like {who} joins; {who} leaves {seconds:.1f} s later",
    "clock": "the clock of {who} jumps by {seconds:+.1f} s",
    "outage": "no broker answers for {seconds:.1f} s",
    "commit": "the next commit of offsets is stored, and nobody is told",
    "lost": "a record is lost on its way",
    "unanswered": "a record is stored, and its sender is not told",
    "late": "a record is {seconds:.1f} s on its way",
    "slow": "a record is stored, and its sender is told {seconds:.1f} s later",
    "repeated": "a record is sent once more {seconds:.1f} s later",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: what.
        at: the number of the step or record that it hits, from 1.
        seconds: how long it lasts, or how much later something is; of a clock, by how much it jumps.
        replaced: a process that stands still is thought dead: another one is started in its place.
    """

    kind: Kind
    at: int
    seconds: float = 0.0
    replaced: bool = False

    @property
    def hits_record(self) -> bool:
        """Whether it hits a record, or a process."""
        return self.kind in RECORD_KINDS

    def says(self, who: str = "a process") -> str:
        """In words."""
        other = ", and another is started in its place" if self.replaced else ""
        return _SAYS[self.kind].format(who=who, seconds=self.seconds, other=other)

    def __str__(self) -> str:
        return f"{'record' if self.hits_record else 'step'} {self.at}: {self.says()}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides a run.

    Attributes:
        seed: of all chance.
        faults: in the order in which they were drawn.
        without: numbers of the story's messages that are left out (when a failure is made smaller).
        shards, apart: how the app is laid out: shards of each coordinator, and whether each part has a process of its
            own.
    """

    seed: int
    faults: tuple[Fault, ...] = ()
    without: frozenset[int] = frozenset()
    shards: int = 1
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Horizon:
    """How long a run is when nothing goes wrong."""

    steps: int
    records: int


def draw_plan(seed: int, horizon: Horizon) -> Plan:
    """The plan of a seed."""
    random = Random(f"faults {seed}")
    faults = tuple(_draw(random, horizon) for _ in range(random.choice(_NUMBERS)))
    return Plan(seed, faults, shards=random.choice((1, 1, 2)), apart=random.random() < 0.5)


def _draw(random: Random, horizon: Horizon) -> Fault:
    if random.random() < 0.6:
        kind = random.choice(STEP_KINDS)
        at = random.randint(1, max(1, int(horizon.steps * 1.3)))
    else:
        kind = random.choice(RECORD_KINDS)
        at = random.randint(1, max(1, int(horizon.records * 1.2)))
    seconds = _SECONDS[kind](random) if kind in _SECONDS else 0.0
    return Fault(kind, at, round(seconds, 2), replaced=kind == "pause" and random.random() < 0.7)


_SECONDS: Final[dict[Kind, Callable[[Random], float]]] = {
    "crash": lambda random: random.choice((0.1, random.uniform(0.1, 2.0), 8.0)),
    "pause": lambda random: random.choice((random.uniform(0.3, 3.0), random.uniform(5.0, 12.0))),
    "move": lambda random: random.uniform(0.1, 3.0),
    "clock": lambda random: random.choice((-1, 1)) * random.choice((0.5, 20.0, 600.0)),
    "outage": lambda random: random.uniform(0.3, 10.0),
    "late": lambda random: random.choice((random.uniform(0.001, 0.1), random.uniform(0.1, 3.9), 7.0)),
    "slow": lambda random: random.uniform(0.05, 4.5),
    "repeated": lambda random: random.choice((0.0, random.uniform(0.001, 0.1), random.uniform(1.0, 20.0))),
}
"""Below and above the timeouts that a run has: session 4 s, delivery 4 s, request 2 s."""
