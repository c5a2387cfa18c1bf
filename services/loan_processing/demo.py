"""``make demo-loan-processing``: people ask for money, and two people decide, by the command line, as they would.

Environment: see ``services/demo_kit/play.py``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field

from aiokafka import ConsumerRecord

from services.demo_kit.pace import publish
from services.demo_kit.play import play
from services.demo_kit.progress import Progress, follow
from services.demo_kit.reconcile import Books, Finding, settle
from services.demo_kit.stage import Stage
from services.loan_processing.flow import BAD_SCORE, GOOD_SCORE, SMALL_EUR
from services.loan_processing.make_loans import events
from services.loan_processing.messages import LoanRequested, WithdrawalRequested
from services.loan_processing.world import PEOPLE

APP = "services.loan_processing.app"
ENDS = {
    b"lending.loan.paid-out.v1": "paid out",
    b"lending.loan.declined.v1": "declined",
    b"lending.loan.withdrawn.v1": "withdrawn",
}


async def demo(stage: Stage) -> list[Finding]:
    asked = events()
    loans = {event.loan_id: event for event in asked if isinstance(event, LoanRequested)}
    withdrawn = {event.loan_id for event in asked if isinstance(event, WithdrawalRequested)}
    stage.environment["LOAN_OFFICER_WITHIN"] = "15s"  # two days
    async with stage.crew(APP, ["bureau", "income", "screening", "bank"], coordinator="lending") as crew:
        stage.say(f"{len(loans)} people ask for a loan; ann and zoe decide about the difficult ones\n")
        news, ann, zoe = (
            News(stage.progress),
            Person("ann", "credit-officer", loans),
            Person("zoe", "head-of-credit", loans),
        )
        at_work = [asyncio.create_task(person.work(stage)) for person in (ann, zoe)]
        await stage.show(
            crew,
            len(asked),
            publish(stage.servers, asked, stage.rate(5), lambda event: stage.progress.begin(event.loan_id)),
            follow(stage.servers, ["lending.journal", "lending.loans"], news.take),
        )
        findings = await settle(lambda: reconcile(Books(stage.data), news, loans, withdrawn))
        waiting = await stage.instances_waiting(f"{APP}:lending")
        for task in at_work:
            if not task.cancel():
                task.result()  # why they have stopped working
    stage.say(f"ann decided {len(ann.decided)} times and was turned down {len(ann.turned_down)} times")
    stage.say(f"zoe decided {len(zoe.decided)} times")
    return [*findings, Finding("instances left waiting", 0, waiting)]


class Person:
    """Looks again and again at what waits for a decision, and decides. Nobody keeps her from trying with her own."""

    def __init__(self, name: str, role: str, loans: dict[str, LoanRequested]) -> None:
        self.decided: set[str] = set()
        self.turned_down: set[str] = set()
        self._name, self._role, self._loans = name, role, loans

    async def work(self, stage: Stage) -> None:
        while True:
            text = await stage.orchestra("approvals", "list", f"{APP}:lending", "--role", self._role, "--json")
            waiting = {one["instance"]: self._loans[one["instance"].rpartition("/")[2]] for one in json.loads(text)}
            good = [name for name, loan in waiting.items() if is_affordable(loan)]
            await self._decide(stage, "approve", "can pay it back", good)
            await self._decide(stage, "reject", "too much for the income", [*waiting.keys() - good])
            await asyncio.sleep(2.0)

    async def _decide(self, stage: Stage, word: str, reason: str, instances: list[str]) -> None:
        if new := [name for name in instances if name not in self.decided | self.turned_down]:
            who = ("--by", self._name, "--role", self._role)
            said = await stage.attempt("approvals", word, f"{APP}:lending", *new, *who, "--reason", reason)
            self.decided |= {name for name in new if f"{name}: {word}: done" in said}
            self.turned_down |= {name for name in new if f"{name}: refused" in said}


def is_affordable(loan: LoanRequested) -> bool:
    return loan.amount_eur <= 6 * (PEOPLE[loan.applicant].monthly_income_eur or 0)


@dataclass
class News:
    """What the topics say: how each loan ended, who approved it, and whether its checks were passed."""

    progress: Progress
    ends: dict[str, str] = field(default_factory=dict[str, str])
    approvers: dict[str, str | None] = field(default_factory=dict[str, "str | None"])
    checks: dict[str, str] = field(default_factory=dict[str, str])

    def take(self, record: ConsumerRecord[bytes, bytes]) -> None:
        said = json.loads(record.value or b"{}")
        if record.topic == "lending.loans":
            if (end := ENDS.get(dict(record.headers).get("ce_type", b""))) is not None:
                self.ends[said["loan_id"]] = end
                self.approvers[said["loan_id"]] = said.get("approved_by")
        elif said["instance"].startswith("loan/"):
            self.progress.take_journal(record)
        else:
            self.checks[said["instance"].rpartition("/")[2]] = said["status"]

    def those(self, end: str) -> set[str]:
        return {loan for loan, found in self.ends.items() if found == end}


def expected_end(loan: LoanRequested) -> str:
    """How it ends if it is not withdrawn, by the rules of this bank."""
    person = PEOPLE[loan.applicant]
    if person.score is None or person.monthly_income_eur is None or person.is_suspicious:
        return "declined"
    if person.score < BAD_SCORE or not person.account_is_open:
        return "declined"
    return "paid out" if is_easy(loan) or is_affordable(loan) else "declined"


def is_easy(loan: LoanRequested) -> bool:
    return loan.amount_eur <= SMALL_EUR and (PEOPLE[loan.applicant].score or 0) >= GOOD_SCORE


def reconcile(books: Books, news: News, loans: dict[str, LoanRequested], withdrawn: set[str]) -> list[Finding]:
    """Every loan has one end, the one that the rules say, and the money went to those and nobody else."""
    findings = [Finding("loans that have ended", len(loans), len(news.ends))]
    for end in ("paid out", "declined"):
        expected = {one.loan_id for one in loans.values() if expected_end(one) == end} - withdrawn
        findings.append(Finding(f"loans {end}", len(expected), len(news.those(end) & expected)))
    paid = news.those("paid out")
    passed = {loan for loan, status in news.checks.items() if status == "completed"}
    inquiries = books.names("bureau", "select loan_id from inquiries")
    agreed = {loan for loan in paid if not is_easy(loans[loan])}
    own = [loan for loan in agreed if news.approvers[loan] in (None, loans[loan].clerk)]
    return [
        *findings,
        Finding("loans withdrawn that nobody asked to withdraw", 0, len(news.those("withdrawn") - withdrawn)),
        Finding("payments = loans paid out", len(paid), books.number("bank", "select count(*) from payouts")),
        Finding(
            "euros sent",
            sum(loans[loan].amount_eur for loan in paid),
            books.number("bank", "select sum(amount_eur) from payouts"),
        ),
        Finding("difficult loans that nobody else agreed to", 0, len(own)),
        Finding("inquiries at the bureau of checks that were passed", len(passed), len(inquiries & passed)),
        Finding("inquiries at the bureau of checks that were not", 0, len(inquiries - passed)),
    ]


if __name__ == "__main__":
    sys.exit(play("loan processing", demo))
