"""What follows from what has changed? Until nothing more does: nodes begin whose predecessors are done, branches that
failed are let go of and undone, a flow that fails is drained, its compensation planned and begun, one that is over says
so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from orchestra.events.message import Done, FlowFailed
from orchestra.flows.behaviour import Behaviour, Values
from orchestra.flows.compensation import ready_to_undo
from orchestra.flows.decision import Status
from orchestra.flows.draft import Draft
from orchestra.flows.failure import Cause, Failure
from orchestra.flows.graph import Graph, GraphNode, JoinNode
from orchestra.flows.instance import Instance, NodeState, names
from orchestra.flows.joining import failed_in, is_ready, lose
from orchestra.flows.progress import OVER, Progress, Undoing

Parts = Mapping[str, tuple[GraphNode, Behaviour[Any, Any]]]
"""The nodes of a graph, each with how it goes."""


class _Yields:
    """What the nodes of an instance have yielded."""

    __slots__ = ("_instance", "_parts", "stored")

    def __init__(self, parts: Parts, instance: Instance) -> None:
        self._parts = parts
        self._instance = instance
        self.stored = instance.stored

    def __call__(self, name: str, /) -> object:
        node, behaviour = self._parts[name]
        state = self._instance.nodes[name]
        if state.progress is Progress.DONE:
            return behaviour.value(node, state, self)
        return behaviour.failure(node, state, self)


class Follow:
    """Carries a draft on until nothing more follows. One for each definition; it keeps nothing of an instance."""

    def __init__(self, graph: Graph, parts: Parts) -> None:
        self._graph = graph
        self._parts = parts
        self._before = {name: node.before for name, node in graph.nodes.items()}

    def on(self, draft: Draft) -> None:
        while self._once(draft):
            pass

    def _once(self, draft: Draft) -> bool:
        """One thing that follows. False when nothing more does."""
        instance = draft.instance
        match instance.status:
            case Status.HALTED:
                return self._resume(draft)
            case Status.RUNNING:
                return self._forward(draft)
            case Status.STUCK | Status.COMPENSATING if instance.failure is not None:
                return self._undo_ready(draft) or self._compensated(draft) if instance.frozen else self._drain(draft)
            case Status.STUCK:  # a branch is, while the flow goes on
                return self._forward(draft)
            case _:
                return False

    # ---- values

    def begun(self, instance: Instance) -> Iterator[tuple[GraphNode, Behaviour[Any, Any], NodeState]]:
        """The nodes that have begun."""
        for name in instance.nodes:
            node, behaviour = self._parts[name]
            yield node, behaviour, instance.nodes[name]

    def active(self, instance: Instance) -> Iterator[tuple[GraphNode, Behaviour[Any, Any], NodeState]]:
        """Those of them with something under way: only these are decoded."""
        nodes = instance.nodes
        for name in nodes.under_way():
            node, behaviour = self._parts[name]
            yield node, behaviour, nodes[name]

    def values(self, needs: Sequence[str], instance: Instance) -> Values:
        """What these nodes have yielded, when somebody asks."""

        def values() -> list[object]:
            yields = _Yields(self._parts, instance)
            return [yields(name) for name in needs]

        return values

    # ---- forward

    def _forward(self, draft: Draft) -> bool:
        if self._graph.joins and (self._let_go(draft) or (draft.instance.lost and self._undo_ready(draft))):
            return True
        return self._begin_ready(draft) or self._complete(draft)

    def _begin_ready(self, draft: Draft) -> bool:
        """Begin what directly follows the nodes that something was done to. False when nothing can follow from that."""
        instance = draft.instance
        for name in self._candidates(draft):
            node, behaviour = self._parts[name]
            if name in instance.nodes or name in instance.lost or not self._is_ready(node, instance):
                continue
            state = instance.nodes[name] = behaviour.begin(node, self.values(node.needs, instance), draft)
            if state.progress is Progress.ACTIVE:
                draft.is_busy = True
                continue
            draft.touched.append(name)
            if instance.failure is not None:
                break  # it failed as it began
        return bool(draft.touched)

    def _candidates(self, draft: Draft) -> Iterable[str]:
        touched, draft.touched = draft.touched, []
        if draft.rescan:
            draft.rescan = False
            return self._parts
        followers, guards = self._graph.followers, self._graph.guards
        if len(touched) == 1 and not guards:
            return followers[touched[0]]
        found = dict.fromkeys(name for one in touched for name in followers[one])
        return found | dict.fromkeys(guards[one] for one in touched if one in guards)

    def _is_ready(self, node: GraphNode, instance: Instance) -> bool:
        if isinstance(node, JoinNode):
            return is_ready(self._graph, instance, node)
        progress = instance.nodes.progress
        return all(progress(one) is Progress.DONE for one in self._before[node.name])

    def _complete(self, draft: Draft) -> bool:
        if draft.is_busy and not draft.instance.lost:  # what has begun may have been let go of since
            return False
        instance, end = draft.instance, self._graph.completed
        undoing: set[Undoing] = set()
        for name in self._parts:
            progress = instance.progress(name)
            is_over = progress is Progress.DONE or name in self._graph.guards or name in instance.lost
            if progress is Progress.ACTIVE or not is_over or (progress is None and name not in instance.lost):
                return False
            undoing.add(instance.undoing(name))
        if not undoing.issubset(OVER):
            instance.status = Status.STUCK if Undoing.STUCK in undoing else Status.RUNNING
            return False
        if not instance.announced:
            said = () if end is None else draft.ending("completed", end, self.values(end.needs, instance)())
            draft.answer(said[0] if said else Done())
        self._end(draft, Status.COMPLETED)
        return True

    def _let_go(self, draft: Draft) -> bool:
        """What branches that failed, or lost, leave behind."""
        instance, changed = draft.instance, False
        for join in self._graph.joins:
            if join.name not in instance.nodes and join.name not in instance.lost:
                branches = zip(join.needs, self._graph.branches[join.name], strict=True)
                failed = [end for end, branch in branches if failed_in(self._graph, instance, join, branch)]
                changed = (bool(failed) and lose(draft, join, failed)) or changed
        for name in instance.lost:
            changed = self._let_go_of(name, draft) or changed
        return changed

    def _let_go_of(self, name: str, draft: Draft) -> bool:
        instance = draft.instance
        progress = instance.progress(name)
        if progress is None or instance.undoing(name) is not Undoing.NONE:
            return False
        node, behaviour = self._parts[name]
        state = instance.nodes[name]
        if progress is Progress.ACTIVE:
            behaviour.cancel(node, state, draft)
            if state.progress is Progress.ACTIVE:
                return False
            draft.touched.append(name)
            return True
        later = self._graph.descendants[name].intersection(instance.lost)
        if any(instance.progress(one) is Progress.ACTIVE for one in later):
            return False
        behaviour.plan_undo(node, state, draft)
        return state.undoing is not Undoing.NONE

    def _resume(self, draft: Draft) -> bool:
        """A halted flow goes on when no failed step is left; one whose own time was up, when somebody says so."""
        failure = draft.instance.failure
        is_up = failure is not None and failure.step is None
        if self.halting(draft.instance) or (is_up and not draft.is_retried):
            return False
        draft.instance.failure = None
        draft.instance.status = Status.RUNNING
        draft.rescan = True
        draft.note("flow.resumed")
        return True

    def halting(self, instance: Instance) -> list[str]:
        """The nodes whose failure is the flow's."""
        return [name for name in names(instance, Progress.FAILED) if name not in self._graph.guards]

    # ---- back

    def _drain(self, draft: Draft) -> bool:
        """What is under way is awaited; then the plan is frozen, from what is known."""
        instance = draft.instance
        waits = False
        for name in instance.nodes:
            if instance.progress(name) is Progress.ACTIVE:
                node, behaviour = self._parts[name]
                state = instance.nodes[name]
                behaviour.cancel(node, state, draft)
                waits = waits or state.progress is Progress.ACTIVE
        if waits:
            return False
        for name in reversed(tuple(self._graph.nodes)):
            if (state_of := instance.nodes.get(name)) is not None:
                node, behaviour = self._parts[name]
                behaviour.plan_undo(node, state_of, draft)
        instance.frozen = True
        draft.note("flow.compensating")
        return True

    def _undo_ready(self, draft: Draft) -> bool:
        ready = ready_to_undo(self._graph, draft.instance)
        for name in ready:
            node, behaviour = self._parts[name]
            behaviour.undo(node, draft.instance.nodes[name], draft)
        return bool(ready)

    def _compensated(self, draft: Draft) -> bool:
        instance, end = draft.instance, self._graph.compensated
        undoing = {instance.undoing(name) for name in instance.nodes}
        instance.status = Status.STUCK if Undoing.STUCK in undoing else Status.COMPENSATING
        if not undoing.issubset(OVER):
            return False
        if not instance.announced:
            failure = self._failure(instance)
            if end is not None:
                draft.ending("compensated", end, [failure])
            self._answer_undone(failure, draft)
        self._end(draft, Status.COMPENSATED)
        return True

    def _answer_undone(self, failure: Failure, draft: Draft) -> None:
        if draft.instance.recalled:
            draft.answer(Done(), "undo")
        else:
            draft.answer(FlowFailed(step=failure.step, cause=failure.cause, reason=failure.reason))

    def _end(self, draft: Draft, status: Status) -> None:
        draft.instance.status = status
        draft.instance.announced = True
        draft.instance.ended = draft.now
        draft.note(f"flow.{status}")

    def _failure(self, instance: Instance) -> Failure:
        failure = instance.failure
        assert failure is not None  # nothing is compensated without a reason
        step, rejection = failure.step, None
        if step is not None and failure.cause is Cause.REJECTED and instance.progress(step) is Progress.FAILED:
            known = _Yields(self._parts, instance)(step)
            rejection = known.rejection if isinstance(known, Failure) else None
        return Failure(step, failure.cause, failure.reason, rejection, failure.dead_letter_id)
