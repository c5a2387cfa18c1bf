"""How does a join go that takes the failures of its branches upon itself? ``any_of`` and ``settled``.

A branch is the end of it, which the join names, and all that only leads there. A branch that fails, or loses against
another, is let go of: what is under way in it is awaited, what was done or may have been is undone, and the flow goes
on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestra.flows.behaviour import Quiet, Values, Yields
from orchestra.flows.decision import Json, OperatorRequest, StepView
from orchestra.flows.draft import Draft
from orchestra.flows.failure import Cause, Failure
from orchestra.flows.graph import AnyOfNode, Graph, JoinNode, SettledNode
from orchestra.flows.instance import Instance
from orchestra.flows.progress import Progress, Undoing, progress_of


@dataclass(slots=True)
class JoinState:
    """A join that is over: it begins when its branches are."""

    status: str = "done"
    failed: dict[str, str] = field(default_factory=dict[str, str])
    """The end of each branch that failed -> the node that failed in it."""
    winner: str | None = None
    ended: int | None = None
    note: str = ""

    @property
    def progress(self) -> Progress:
        return progress_of(self.status)

    @property
    def undoing(self) -> Undoing:
        return Undoing.NONE

    def dump(self) -> Json:
        raw: Json = {"s": self.status}
        for short, value in (("f", self.failed), ("v", self.winner), ("e", self.ended), ("w", self.note)):
            if value:
                raw[short] = value
        return raw

    @classmethod
    def load(cls, raw: Mapping[str, Any]) -> JoinState:
        return cls(raw["s"], raw.get("f", {}), raw.get("v"), raw.get("e"), raw.get("w", ""))


class _Joining(Quiet):
    """What both kinds have in common."""

    kind: str

    def load(self, raw: Mapping[str, Any]) -> JoinState:
        return JoinState.load(raw)

    def failure(self, node: JoinNode, state: JoinState, yields: Yields) -> Failure:
        return Failure(node.name, Cause.FAILED, state.note)

    def views(self, node: JoinNode, state: JoinState | None) -> Iterator[StepView]:
        status, note = ("waiting", "") if state is None else (state.status, state.note)
        yield StepView(node.name, status, self.kind, note=note)

    def operate(
        self, node: JoinNode, state: JoinState, request: OperatorRequest, values: Values, draft: Draft
    ) -> str | None:
        return "its branches were let go of: restart the flow, or cancel it"

    def waits_for(self, node: JoinNode, state: JoinState, instance: Instance) -> Iterable[str]:
        return ()

    def _failed(self, node: JoinNode, state: JoinState, draft: Draft, note: str) -> None:
        state.status, state.note = "failed", note
        draft.note("join.failed", node.name, note=note)
        draft.fail(node.name, Cause.FAILED, note)


class AnyOfBehaviour(_Joining):
    """It yields what the first branch that was done has yielded."""

    kind = "any of"

    def begin(self, node: AnyOfNode, values: Values, draft: Draft) -> JoinState:
        state = JoinState(ended=draft.now, failed=failures(node, draft))
        winners = done(draft.instance, node)
        if winners:
            state.winner = winners[0]
            lose(draft, node, [end for end in node.needs if end != state.winner])
            draft.note("join.done", node.name, note=f"by {state.winner}")
        else:
            self._failed(node, state, draft, f"all failed: {', '.join(state.failed.values())}")
        return state

    def value(self, node: AnyOfNode, state: JoinState, yields: Yields) -> object:
        assert state.winner is not None
        return yields(state.winner)


class SettledBehaviour(_Joining):
    """It yields what each branch has yielded, or why it failed."""

    kind = "settled"

    def begin(self, node: SettledNode, values: Values, draft: Draft) -> JoinState:
        state = JoinState(ended=draft.now, failed=failures(node, draft))
        count, of = len(node.needs) - len(state.failed), len(node.needs)
        if count >= node.at_least:
            draft.note("join.done", node.name, note=f"{count} of {of}")
        else:
            failed = ", ".join(state.failed.values())
            self._failed(node, state, draft, f"{count} of {of}, and {node.at_least} are needed: {failed}")
        return state

    def value(self, node: SettledNode, state: JoinState, yields: Yields) -> object:
        return tuple(yields(state.failed.get(end, end)) for end in node.needs)


def failures(node: JoinNode, draft: Draft) -> dict[str, str]:
    """The branches that failed, each with the node that failed in it."""
    branches = zip(node.needs, draft.graph.branches[node.name], strict=True)
    found = {end: failed_in(draft.graph, draft.instance, node, branch) for end, branch in branches}
    good = done(draft.instance, node)
    return {end: name or end for end, name in found.items() if name is not None or end not in good}


def done(instance: Instance, join: JoinNode) -> list[str]:
    """The branches that are done. One that was given up stays so, though a reply that came late says it was done."""
    return [end for end in join.needs if instance.progress(end) is Progress.DONE and end not in instance.lost]


def failed_in(graph: Graph, instance: Instance, join: JoinNode, branch: frozenset[str]) -> str | None:
    """The node by which a branch fails, if it does. What an inner join takes upon itself does not count."""
    return next(
        (
            name
            for name in graph.nodes
            if name in branch and graph.guards[name] == join.name and instance.progress(name) is Progress.FAILED
        ),
        None,
    )


def is_ready(graph: Graph, instance: Instance, join: JoinNode) -> bool:
    """Whether a join can begin: one branch is done, where one is enough; else all are done, or failed and quiet."""
    good = done(instance, join)
    if good and isinstance(join, AnyOfNode):
        return True
    return all(
        end in good or (_is_given_up(graph, instance, join, end, branch) and _is_quiet(graph, instance, join, branch))
        for end, branch in zip(join.needs, graph.branches[join.name], strict=True)
    )


def _is_given_up(graph: Graph, instance: Instance, join: JoinNode, end: str, branch: frozenset[str]) -> bool:
    return end in instance.lost or failed_in(graph, instance, join, branch) is not None


def _is_quiet(graph: Graph, instance: Instance, join: JoinNode, branch: frozenset[str]) -> bool:
    """Whether nothing of a branch is under way. What an inner join has let go of is that one's business."""
    return all(instance.progress(name) is not Progress.ACTIVE for name in branch if graph.guards[name] == join.name)


def lose(draft: Draft, join: JoinNode, ends: Iterable[str]) -> bool:
    """Let go of these branches, save what a branch that is still in needs as well. False: that was done before."""
    instance, branches = draft.instance, dict(zip(join.needs, draft.graph.branches[join.name], strict=True))
    lost = set(ends)
    kept = frozenset[str]().union(*(branch for end, branch in branches.items() if end not in lost))
    new = {name for end in lost for name in branches[end]} - kept - set(instance.lost)
    instance.lost += [name for name in draft.graph.nodes if name in new]
    return bool(new)
