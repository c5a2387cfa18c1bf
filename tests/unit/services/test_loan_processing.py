"""Loan processing: the machine and its checks as stories, and requests on their way through the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

import orchestra
from orchestra import Done, FlowFailedError, Undo
from orchestra.testing import Refused, Story, run
from orchestra.testing.memory import running_in_memory
from services.demo_kit.reconcile import Books
from services.loan_processing import bureau, income, screening
from services.loan_processing.app import app
from services.loan_processing.checks import LoanChecks
from services.loan_processing.flow import Loan
from services.loan_processing.make_loans import LOANS, lines, people
from services.loan_processing.messages import (
    AccountClosed,
    AskScore,
    ChecksPassed,
    ChecksRequested,
    FraudSuspected,
    IncomeVerified,
    LoanDeclined,
    LoanPaidOut,
    LoanRequested,
    LoanWithdrawn,
    LookForFraud,
    MoneySent,
    NothingSuspicious,
    PayOut,
    Scored,
    VerifyIncome,
    WithdrawalRequested,
)
from services.loan_processing.world import PEOPLE, PEOPLE_FILE

CHECKS = ChecksRequested(loan_id="l-1", applicant="Mei Ito")


def request(amount_eur: int) -> LoanRequested:
    return LoanRequested(loan_id="l-1", applicant="Mei Ito", amount_eur=amount_eur, clerk="ann")


def checked(amount_eur: int, score: int = 700) -> Story:
    t = run(Loan, request(amount_eur))
    t.expect_call(LoanChecks).completes(ChecksPassed(score=score, monthly_income_eur=3_000))
    return t


# ---- the checks


def test_all_three_are_asked_at_the_same_time() -> None:
    t = run(LoanChecks, CHECKS)

    score, earned, fraud = t.expect(AskScore), t.expect(VerifyIncome), t.expect(LookForFraud)
    fraud.reply(NothingSuspicious())
    earned.reply(IncomeVerified(monthly_eur=3_000))
    score.reply(Scored(score=700))

    assert t.completed(ChecksPassed) == ChecksPassed(score=700, monthly_income_eur=3_000)


def test_when_one_says_no_the_bureau_forgets_that_we_asked() -> None:
    t = run(LoanChecks, CHECKS)
    t.expect(AskScore).reply(Scored(score=700))
    t.expect(VerifyIncome)  # it only looks, so nobody waits for it any longer

    t.expect(LookForFraud).reject(FraudSuspected())
    t.expect(Undo[AskScore]).reply(Done())

    t.compensated()


# ---- the loan


def test_a_small_loan_of_somebody_good_needs_nobody() -> None:
    t = checked(5_000)

    t.expect(PayOut(loan_id="l-1", applicant="Mei Ito", amount_eur=5_000)).reply(MoneySent(amount_eur=5_000))

    assert t.completed(LoanPaidOut).approved_by is None


def test_a_bad_score_is_declined_without_asking_anybody() -> None:
    assert checked(5_000, score=299).completed(LoanDeclined).reason == "a score of 299"


def test_checks_that_fail_decline_it() -> None:
    t = run(Loan, request(5_000))

    t.expect_call(LoanChecks).fails("fraud: rejected: FraudSuspected")

    assert "FraudSuspected" in t.completed(LoanDeclined).reason


def test_an_officer_agrees_who_did_not_take_the_request_down() -> None:
    t = checked(9_000)

    with pytest.raises(Refused):
        t.approve(by="ann", roles=["credit-officer"])
    t.approve(by="bea", roles=["credit-officer"])
    t.expect(PayOut).reply(MoneySent(amount_eur=9_000))

    assert t.completed(LoanPaidOut).approved_by == "bea"


def test_after_two_days_the_head_of_credit_is_asked() -> None:
    t = checked(9_000)
    t.advance("2d")
    assert t.states == ["pending", "second_review"]

    with pytest.raises(Refused):
        t.approve(by="bea", roles=["credit-officer"])
    t.reject(by="zoe", roles=["head-of-credit"], reason="too much for the income")

    assert t.completed(LoanDeclined).reason == "too much for the income"


def test_when_nobody_decides_at_all_it_lapses() -> None:
    t = checked(9_000)

    t.advance("7d")

    assert t.completed(LoanDeclined).reason == "nobody has decided"


def test_one_that_is_withdrawn_cancels_its_checks() -> None:
    t = run(Loan, request(9_000))
    call = t.expect_call(LoanChecks)

    t.publish(WithdrawalRequested(loan_id="l-1"))
    t.expect_cancel(LoanChecks)
    assert t.status == "running"  # not over before the checks are
    call.fails("cancelled")

    t.completed(LoanWithdrawn)


def test_once_the_money_is_under_way_it_is_too_late_to_withdraw() -> None:
    t = checked(5_000)

    t.publish(WithdrawalRequested(loan_id="l-1"))
    t.expect(PayOut).reply(MoneySent(amount_eur=5_000))

    t.completed(LoanPaidOut)


def test_a_closed_account_declines_it() -> None:
    t = checked(5_000)

    t.expect(PayOut).reject(AccountClosed())

    assert t.completed(LoanDeclined).reason == "the account is closed"


def test_a_payment_that_nobody_answers_is_looked_at_by_a_person() -> None:
    t = checked(5_000)

    t.expect(PayOut).dead_letters()
    assert t.states == ["in_doubt"]
    t.approve(by="kim", roles=["treasurer"], reason="it is on the statement")

    t.completed(LoanPaidOut)


# ---- the whole


def test_the_checked_in_input_is_the_generated_one() -> None:
    assert LOANS.read_text().splitlines() == lines(70, seed=8)
    assert PEOPLE_FILE.read_text() == people(70, seed=8)


async def test_loans_are_checked_and_paid(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((bureau, "BUREAU_SECONDS"), (income, "EMPLOYER_SECONDS"), (screening, "MODEL_SECONDS")):
        monkeypatch.setattr(module, name, 0)
    good = next(name for name, one in PEOPLE.items() if (one.score or 0) > 600 and one.account_is_open)
    fraud = next(name for name, one in PEOPLE.items() if one.is_suspicious and one.score)
    loans = [LoanRequested(loan_id=name, applicant=name, amount_eur=1_000, clerk="ann") for name in (good, fraud)]

    async with running_in_memory(app) as log, orchestra.connect(transport=log) as bus:
        paid = await bus.run(Loan, loans[0], timeout="20s")
        with pytest.raises(FlowFailedError):
            await bus.run(Loan, loans[1], timeout="20s", yields=LoanPaidOut)

    assert paid == LoanPaidOut(loan_id=good, amount_eur=1_000, approved_by=None)
    books = Books(data)
    assert books.rows("bank", "select loan_id, amount_eur from payouts") == [(good, 1_000)]
    assert books.names("bureau", "select loan_id from inquiries") == {good}
