"""Decisions of people, through a coordinator: listed, taken once, by the right person, and waited for when parked."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from orchestra import (
    Bus,
    Coordinator,
    Settings,
    connect,
)
from orchestra.cli import approvals as cli
from orchestra.cli.operate import told
from orchestra.clock import LoopClock
from orchestra.coordinator.approvals import WaitingApproval, list_approvals
from orchestra.coordinator.instances import read_history
from orchestra.coordinator.names import Names
from orchestra.coordinator.request import Answer, answers_in, ask_instances
from orchestra.flows.decision import OperatorAction, OperatorRequest
from orchestra.testing.memory import MemoryTransport, running_in_memory
from tests.unit.bus.bus_rig import EPOCH
from tests.unit.coordinator.loan import Asked, Loan

pytestmark = pytest.mark.virtual_time
SETTINGS = Settings(env="test")
NAMES = Names.of("bank", SETTINGS)


class Bank:
    """A coordinator of loans, and people who decide."""

    def __init__(self, log: MemoryTransport, bus: Bus, coordinator: Coordinator, clock: LoopClock) -> None:
        self.log = log
        self.bus = bus
        self.coordinator = coordinator
        self.clock = clock

    async def asked(self, key: str, papers: str = "") -> None:
        await self.bus.publish(Asked(loan_id=key, cents=100, clerk="bob", papers=papers))
        while key not in [one.instance.partition("/")[2] for one in await self.waiting()]:
            await self.clock.sleep(0.1)

    async def waiting(self) -> list[WaitingApproval]:
        return await list_approvals(self.log, NAMES, self.coordinator.flows)

    async def says(
        self, action: OperatorAction, key: str, by: str = "ann", role: str = "credit-officer", step: str | None = None
    ) -> Answer | None:
        request = OperatorRequest(action, by=by, reason="the papers are in order", step=step, roles=(role,))
        publisher = self.log.publisher()
        await publisher.start()
        found = await ask_instances(
            self.log,
            publisher,
            NAMES,
            self.coordinator.partitions,
            {f"loan/{key}": request},
            source="/test",
            now=self.clock.now(),
            seconds=5,
        )
        await publisher.aclose()
        return found[f"loan/{key}"]


@asynccontextmanager
async def bank() -> AsyncGenerator[Bank]:
    clock = LoopClock(EPOCH)
    coordinator = Coordinator("bank", flows=[Loan], partitions=2)
    async with (
        running_in_memory(coordinator, settings=SETTINGS, clock=clock) as log,
        connect(SETTINGS, transport=log, clock=clock, coordinators=[coordinator]) as bus,
    ):
        yield Bank(log, bus, coordinator, clock)


async def test_what_waits_for_a_decision_is_listed_with_role_times_and_what_it_is_about() -> None:
    async with bank() as here:
        await here.asked("l1")
        await here.clock.sleep(60)
        await here.asked("l2")

        first, second = await here.waiting()

        assert (first.instance, second.instance, first.step) == ("loan/l1", "loan/l2", "agreed")
        assert first.roles == ("credit-officer",)
        assert first.until == first.since + timedelta(hours=1)
        assert '"cents":100' in first.about


async def test_what_it_is_about_is_found_also_where_it_stands_beside_the_record() -> None:
    async with bank() as here:
        await here.asked("l1", papers="p" * 100_000)

        [one] = await here.waiting()

        assert one.about.count("p") > 100_000


async def test_an_escalation_is_seen_in_the_list() -> None:
    async with bank() as here:
        await here.asked("l1")
        await here.clock.sleep(300 + 60)

        [one] = await here.waiting()

        assert one.roles == ("credit-officer", "head-of-credit")
        answer = await here.says("approve", "l1", role="head-of-credit")
        assert answer is not None
        assert answer.outcome == "done"


async def test_a_decision_is_recorded_with_who_when_and_why() -> None:
    async with bank() as here:
        await here.asked("l1")

        answer = await here.says("approve", "l1")

        assert answer is not None
        assert (answer.outcome, answer.status) == ("done", "completed")
        assert await here.waiting() == []
        lines = await read_history(here.log, NAMES, "loan/l1")
        approved = next(line for line in lines if line.what == "approval.approved")
        assert approved.note == "by ann: the papers are in order"
        assert approved.at.year == EPOCH.year


@pytest.mark.parametrize("second", ["approve", "reject"])
async def test_hazard_23_the_first_decision_wins_and_the_second_hears_who_took_it(second: OperatorAction) -> None:
    async with bank() as here:
        await here.asked("l1")
        await here.says("reject", "l1")

        answer = await here.says(second, "l1", by="eve")

        assert answer is not None
        assert answer.outcome == "refused"
        assert answer.status == "completed"
        assert answer.note == "the instance is completed; agreed was decided already, by ann: the papers are in order"


async def test_hazard_23_who_asked_does_not_decide() -> None:
    async with bank() as here:
        await here.asked("l1")

        answer = await here.says("approve", "l1", by="bob")

        assert answer is not None
        assert (answer.outcome, "bob asked for it, and does not decide" in answer.note) == ("refused", True)
        assert len(await here.waiting()) == 1


async def test_hazard_23_the_wrong_role_does_not_decide() -> None:
    async with bank() as here:
        await here.asked("l1")

        answer = await here.says("approve", "l1", role="janitor")

        assert answer is not None
        assert (answer.outcome, "ann is not known as credit-officer" in answer.note) == ("refused", True)


async def test_a_request_that_no_coordinator_takes_has_no_answer_yet() -> None:
    async with bank() as here:
        await here.asked("l1")
    log = MemoryTransport(here.log.cluster, SETTINGS)
    here.log = log

    assert await here.says("approve", "l1") is None

    await log.aclose()


def test_journal_entries_that_are_none_hold_no_answers() -> None:
    assert answers_in(b"\xff") == answers_in(None) == answers_in(b'{"inputs":[{"kind":"start","headers":[]}]}') == {}


# ---- what a person reads


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Answer("done", "approval.approved: by ann", "running"), "loan/l1: approve: done; the instance is running. "),
        (
            Answer("refused", "it is approved by ann already", "running"),
            "loan/l1: refused; the instance is running. it is",
        ),
        (Answer("waits", "parked", "parked"), "loan/l1: approve waits, the instance is parked"),
        (None, "loan/l1: approve is stored, and no coordinator has taken it within 10 s"),
    ],
)
def test_what_came_of_a_request_is_told_in_a_line(answer: Answer | None, text: str) -> None:
    assert told("loan/l1", "approve", answer).startswith(text)


def test_the_list_is_shown_in_columns(capsys: pytest.CaptureFixture[str]) -> None:
    one = WaitingApproval("loan/l1", "agreed", ("officer", "head"), EPOCH, None, '{"cents":\x1b[1m100}', is_parked=True)

    cli.show([one])
    cli.show([])

    text = capsys.readouterr().out
    assert "loan/l1   agreed    officer or head" in text
    assert "for ever" in text
    assert '(parked) {"cents": [1m100}' in text
    assert text.endswith("nothing waits for a decision\n")
