"""Bugs, each put into the engine by a small patch and taken out again. For tests that must notice them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from orchestra.flows import action, compensation, follow, joining, step, wait
from orchestra.flows.approval import ApprovalBehaviour
from orchestra.flows.decision import Status
from orchestra.flows.draft import Draft
from orchestra.flows.effect import EffectStatus
from orchestra.flows.failure import Cause
from orchestra.flows.follow import Follow
from orchestra.flows.graph import Kind
from orchestra.flows.progress import Progress, Undoing
from orchestra.flows.step import StepBehaviour

Replaced = tuple[object, str, Any]
"""Where, which name, and what stands there instead."""


@dataclass(frozen=True)
class Bug:
    """A mistake that somebody could make."""

    name: str
    replaced: tuple[Replaced, ...]

    @contextmanager
    def seeded(self) -> Generator[None]:
        with ExitStack() as stack:
            for owner, name, instead in self.replaced:
                stack.enter_context(patch.object(owner, name, instead))
            yield


BUGS: dict[str, Bug] = {}


def bug(*places: tuple[object, str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The function stands in for what is there. It is given the original first."""

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__
        BUGS[name] = Bug(name, tuple((owner, at, _around(getattr(owner, at), function)) for owner, at in places))
        return function

    return declare


def _around(original: Any, function: Callable[..., Any]) -> Any:
    def instead(*given: Any, **named: Any) -> Any:
        return function(original, *given, **named)

    return instead


# ---- the order of undoing


@bug((follow, "ready_to_undo"))
def undoes_in_forward_order(_: Any, graph: Any, instance: Any) -> list[str]:
    left = {name for name in instance.nodes if instance.undoing(name) not in (Undoing.NONE, Undoing.FINISHED)}
    planned = [name for name in graph.nodes if instance.undoing(name) is Undoing.PLANNED]
    return [name for name in planned if not left & graph.ancestors[name]]


@bug((follow, "ready_to_undo"))
def undoes_everything_at_once(_: Any, graph: Any, instance: Any) -> list[str]:
    return [name for name in graph.nodes if instance.undoing(name) is Undoing.PLANNED]


@bug((compensation, "plan"))
def forgets_to_undo_what_may_be_done(original: Any, node: Any, state: Any, draft: Any) -> None:
    if state.action.status is not EffectStatus.UNKNOWN:
        original(node, state, draft)


# ---- what is under way when the flow fails


@bug((action, "cancel"))
def forgets_a_cancelled_sibling(original: Any, node: Any, state: Any, draft: Any) -> None:
    if state.action.status is EffectStatus.RUNNING:
        state.action.settle(EffectStatus.CANCELLED, draft.now)
        draft.note("step.cancelled", node.name)
    else:
        original(node, state, draft)


@bug((Follow, "_drain"))
def undoes_before_siblings_are_known(_: Any, self: Any, draft: Any) -> bool:
    for name in reversed(tuple(self._graph.nodes)):
        if (state := draft.instance.nodes.get(name)) is not None:
            node, behaviour = self._parts[name]
            behaviour.plan_undo(node, state, draft)
    draft.instance.frozen = True
    draft.note("flow.compensating")
    return True


# ---- answers


@bug((action, "_replied_late"))
def resumes_on_a_late_reply(_: Any, node: Any, state: Any, event: Any, reply: Any, draft: Any) -> None:
    action._done(node, state.action, event, reply, draft, "step.replied_late")
    draft.instance.failure, draft.instance.frozen = None, False
    draft.instance.status = Status.RUNNING
    draft.rescan = True


@bug((action, "replied"))
def begins_a_join_again_on_a_duplicate(
    original: Any, node: Any, state: Any, event: Any, reply: Any, draft: Any
) -> None:
    if state.action.status is EffectStatus.DONE and draft.instance.status is Status.RUNNING:
        draft.note("step.replied", node.name)
        for name in draft.graph.followers[node.name]:
            if name in draft.instance.nodes:
                del draft.instance.nodes[name]
    else:
        original(node, state, event, reply, draft)


@bug((Follow, "_is_ready"))
def joins_when_the_first_branch_is_done(original: Any, self: Any, node: Any, instance: Any) -> bool:
    if isinstance(node, joining.JoinNode):
        return bool(original(self, node, instance))
    return not node.before or any(instance.progress(one) is Progress.DONE for one in node.before)


@bug((step, "answers_older_try"))
def takes_the_rejection_of_an_older_try(original: Any, *given: Any) -> bool:
    return False


# ---- time


@bug((action, "timed_out"))
def takes_a_timeout_for_a_rejection(_: Any, node: Any, state: Any, draft: Any) -> None:
    state.action.settle(EffectStatus.REFUSED, draft.now)
    draft.note("step.timed_out", node.name)
    draft.fail(node.name, Cause.REFUSED, "no answer")


@bug((action, "_again"))
def tries_again_as_another_effect(original: Any, node: Any, effect: Any, draft: Any) -> None:
    original(node, effect, draft)
    effect.last = EffectStatus.REFUSED


@bug((action, "_again"))
def forgets_the_timer_of_a_pause(original: Any, node: Any, effect: Any, draft: Any) -> None:
    original(node, effect, draft)
    effect.generation, effect.due = 0, None


@bug((StepBehaviour, "timer"))
def fires_timers_that_were_cancelled(
    original: Any, self: Any, node: Any, state: Any, address: Any, generation: int, values: Any, draft: Any
) -> None:
    effect = state.effect(address.phase)
    pending = effect.generation if effect is not None else generation
    original(self, node, state, address, pending, values, draft)


# ---- points of no return, and people


@bug((StepBehaviour, "is_final"))
def lets_a_flow_be_cancelled_behind_its_pivot(original: Any, *given: Any) -> bool:
    return False


@bug((Draft, "alert"))
def calls_nobody(original: Any, *given: Any) -> None:
    pass


@bug((ApprovalBehaviour, "operate"))
def lets_anybody_decide(original: Any, self: Any, node: Any, state: Any, request: Any, *more: Any) -> Any:
    called = tuple(role for _, role in node.escalations)
    roles = (*request.roles, node.role, *called)
    asked = type(request)(request.action, request.by, request.reason, request.step, roles)
    return original(self, node, state, asked, *more)


@bug((wait, "_is_kept"))
def keeps_an_early_event_twice(original: Any, *given: Any) -> bool:
    return False


# ---- branches


@bug((follow, "lose"), (joining, "lose"))
def forgets_the_losers_of_any_of(original: Any, *given: Any) -> bool:
    return False


# ---- the end


@bug((Follow, "_end"))
def says_twice_that_it_is_over(original: Any, self: Any, draft: Any, status: Any) -> None:
    original(self, draft, status)
    draft.instance.announced = False


PIVOT_GIVES_UP = Bug(
    "gives_up_a_pivot_that_nobody_answers", ((Kind, "insists", property(lambda kind: kind == "retriable")),)
)
BUGS[PIVOT_GIVES_UP.name] = PIVOT_GIVES_UP
