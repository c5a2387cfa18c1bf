"""What is the smallest run that fails in the same way? Faults, then messages, then processes are taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, Protocol, TypeVar

from orchestra.testing.simulation_plan import Plan

_MOST: Final = 300
"""Runs that are tried."""
_PLACES: Final = 12


class Failing(Protocol):
    """A run, as far as it matters here."""

    @property
    def plan(self) -> Plan: ...
    @property
    def fails_at(self) -> str: ...
    @property
    def messages(self) -> int: ...


F = TypeVar("F", bound=Failing)


def shrink(found: F, again: Callable[[Plan], F]) -> F:
    """The smallest run that fails in the same way, among those that differ from ``found`` by what was taken away."""
    best, left = found, _MOST
    is_smaller = True
    while is_smaller and left:
        is_smaller = False
        for plan in _smaller(best):
            if not left:
                break
            left -= 1
            run = again(plan)
            if run.fails_at == found.fails_at:
                best, is_smaller = run, True
                break
    return best


def _smaller(run: Failing) -> Iterator[Plan]:
    """Plans with one thing less, the most promising first."""
    plan = run.plan
    faults = plan.faults
    if len(faults) > 1:
        yield replace(plan, faults=())
    for index in range(len(faults)):
        yield replace(plan, faults=(*faults[:index], *faults[index + 1 :]))
    for number in range(run.messages, 0, -1):
        if number not in plan.without and len(plan.without) + 1 < run.messages:
            yield from _moved(replace(plan, without=plan.without | {number}))
    if plan.apart:
        yield replace(plan, apart=False)
    if plan.shards > 1:
        yield replace(plan, shards=1)
    for index, fault in enumerate(faults):
        if fault.replaced:
            yield replace(plan, faults=(*faults[:index], replace(fault, replaced=False), *faults[index + 1 :]))


def _moved(plan: Plan) -> Iterator[Plan]:
    """The plan, and others whose faults come earlier: with less going on, what they hit comes earlier too."""
    yield plan
    for part in range(_PLACES - 1, 0, -1):
        yield replace(plan, faults=tuple(replace(f, at=max(1, f.at * part // _PLACES)) for f in plan.faults))
