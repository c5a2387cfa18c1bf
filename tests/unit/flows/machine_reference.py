"""What a machine should do, written down a second time and in another way: states are paths in a tree of nested lists,
and everything is computed from prefixes of paths. Slow, short, and without anything of the engine's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Path = tuple[int, ...]
"""Where a state stands: the root is (), its second child (1,), that one's first child (1, 0)."""


@dataclass(frozen=True)
class Tree:
    """A state: "compound" (its first child is its initial one), "parallel", "atomic" or "final"."""

    kind: str
    children: tuple[Tree, ...] = ()


@dataclass(frozen=True)
class Rule:
    """A transition. ``guard``: what its guard says; ``event`` "" is eventless."""

    source: Path
    event: str
    target: Path | None
    guard: bool
    number: int


@dataclass
class Reference:
    """One run."""

    root: Tree
    rules: Sequence[Rule]
    active: set[Path] = field(default_factory=set[Path])
    trace: list[str] = field(default_factory=list[str])
    finished: list[Path] = field(default_factory=list[Path])
    """States whose completion is still to be told."""

    def at(self, path: Path) -> Tree:
        tree = self.root
        for step in path:
            tree = tree.children[step]
        return tree

    @property
    def is_over(self) -> bool:
        return any(len(path) == 1 and self.at(path).kind == "final" for path in self.active)

    def start(self) -> None:
        self.enter(set(self.below((0,))))
        self.settle()

    def give(self, event: str) -> None:
        if not self.is_over:
            self.step(self.enabled(event))
            self.settle()

    def settle(self) -> None:
        while not self.is_over:
            if rules := self.enabled(""):
                self.step(rules)
            elif self.finished:
                self.step(self.enabled(f"done {self.finished.pop(0)}"))
            else:
                return

    # ---- which rules

    def enabled(self, event: str) -> list[Rule]:
        found: list[Rule] = []
        for leaf in sorted(path for path in self.active if not self.at(path).children):
            for end in range(len(leaf), 0, -1):
                of = [rule for rule in self.rules if (rule.source, rule.event, rule.guard) == (leaf[:end], event, True)]
                if of:
                    first = min(of, key=lambda rule: rule.number)
                    found += [] if first in found else [first]
                    break
        kept: list[Rule] = []
        for rule in found:
            rivals = [other for other in kept if self.left_by(rule) & self.left_by(other)]
            if all(is_inside(rule.source, other.source) for other in rivals):
                kept = [*(other for other in kept if other not in rivals), rule]
        return kept

    def frame(self, rule: Rule) -> Path:
        """The longest path that source and target have in common, and that stays: a proper prefix, not parallel."""
        assert rule.target is not None
        length = 0
        for one, other in zip(rule.source[:-1], rule.target[:-1], strict=False):
            if one != other:
                break
            length += 1
        while length and self.at(rule.source[:length]).kind == "parallel":
            length -= 1
        return rule.source[:length]

    def left_by(self, rule: Rule) -> set[Path]:
        if rule.target is None:
            return set()
        return {path for path in self.active if is_inside(path, self.frame(rule))}

    # ---- what they do

    def step(self, rules: Sequence[Rule]) -> None:
        for path in sorted(set().union(*map(self.left_by, rules)), reverse=True):
            self.active.discard(path)
            self.trace.append(f"-{path}")
        for rule in rules:
            self.trace.append(f"!{rule.number}")
        self.enter(set().union(*map(self.entered_by, rules)))

    def entered_by(self, rule: Rule) -> set[Path]:
        if rule.target is None:
            return set()
        new = set(self.below(rule.target))
        for end in range(len(self.frame(rule)) + 1, len(rule.target)):
            around = rule.target[:end]
            new.add(around)
            if self.at(around).kind == "parallel":
                for place in range(len(self.at(around).children)):
                    if place != rule.target[end]:
                        new.update(self.below((*around, place)))
        return new

    def below(self, path: Path) -> list[Path]:
        """The state, and what is entered with it inside."""
        tree = self.at(path)
        children = range(len(tree.children)) if tree.kind == "parallel" else range(min(1, len(tree.children)))
        return [path, *(one for place in children for one in self.below((*path, place)))]

    def enter(self, paths: set[Path]) -> None:
        for path in sorted(paths):
            self.active.add(path)
            self.trace.append(f"+{path}")
            if self.at(path).kind == "final" and len(path) > 1:
                around = path[:-1]
                self.finished.append(around)
                if len(around) > 1 and self.at(around[:-1]).kind == "parallel" and self.is_done(around[:-1]):
                    self.finished.append(around[:-1])

    def is_done(self, path: Path) -> bool:
        tree = self.at(path)
        if tree.kind == "parallel":
            return all(self.is_done((*path, place)) for place in range(len(tree.children)))
        return any(one.kind == "final" and (*path, place) in self.active for place, one in enumerate(tree.children))


def is_inside(path: Path, around: Path) -> bool:
    return len(path) > len(around) and path[: len(around)] == around


def paths(tree: Tree, at: Path = ()) -> Mapping[Path, Tree]:
    """All states below the root, in document order."""
    found: dict[Path, Tree] = {}
    for place, child in enumerate(tree.children):
        found[*at, place] = child
        found.update(paths(child, (*at, place)))
    return found
