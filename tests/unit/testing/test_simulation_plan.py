"""What a seed decides, and how a failure is made smaller."""

from __future__ import annotations

from dataclasses import dataclass

from orchestra.testing.simulation_plan import Fault, Horizon, Plan, draw_plan
from orchestra.testing.simulation_shrink import shrink

HORIZON = Horizon(steps=100, records=20)


@dataclass(frozen=True)
class Tried:
    """A run that fails when the crash hits, while two messages are there."""

    plan: Plan
    messages: int = 4

    @property
    def fails_at(self) -> str:
        hit = any(fault.kind == "crash" and fault.at <= 30 for fault in self.plan.faults)
        return "lost" if hit and not {1, 3} & self.plan.without else ""


def test_a_seed_is_a_plan() -> None:
    plans = [draw_plan(seed, HORIZON) for seed in range(200)]

    assert plans == [draw_plan(seed, HORIZON) for seed in range(200)]
    assert len({plan.faults for plan in plans}) > 100
    assert {plan.shards for plan in plans} == {1, 2}
    assert {plan.apart for plan in plans} == {True, False}


def test_faults_are_spread_over_the_length_of_a_run() -> None:
    faults = [fault for seed in range(500) for fault in draw_plan(seed, HORIZON).faults]

    steps = [fault.at for fault in faults if not fault.hits_record]
    records = [fault.at for fault in faults if fault.hits_record]
    assert min(steps) == 1
    assert 120 < max(steps) <= 130
    assert min(records) == 1
    assert max(records) == 24


def test_what_is_not_needed_is_taken_away() -> None:
    faults = (Fault("clock", 5, 20.0), Fault("crash", 24, 1.0), Fault("late", 3, 0.5), Fault("pause", 9, 3.0, True))
    found = Tried(Plan(7, faults, shards=2, apart=True))

    small = shrink(found, Tried)

    assert [fault.kind for fault in small.plan.faults] == ["crash"]
    assert small.plan.without == {2, 4}
    assert (small.plan.shards, small.plan.apart) == (1, False)
    assert small.fails_at == "lost"


def test_a_failure_that_needs_nothing_keeps_nothing() -> None:
    @dataclass(frozen=True)
    class Always(Tried):
        @property
        def fails_at(self) -> str:
            return "always"

    small = shrink(Always(Plan(7, (Fault("crash", 3, 1.0), Fault("lost", 1)))), Always)

    assert small.plan.faults == ()
    assert len(small.plan.without) == 3


def test_faults_say_what_they_are() -> None:
    assert str(Fault("crash", 7, 1.5)) == "step 7: a process dies; it is started again 1.5 s later"
    assert Fault("pause", 7, 9.0, replaced=True).says("bank#1").endswith("and another is started in its place")
    assert str(Fault("lost", 2)) == "record 2: a record is lost on its way"
