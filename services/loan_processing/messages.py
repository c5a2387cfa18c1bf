"""What do the loan, its checks, the agencies and the bank say to each other?"""

from pydantic import Field

from orchestra import Command, Event, Key


class LoanRequested(Event, type="lending.loan.requested.v1", topic="lending.loans"):
    loan_id: Key[str]
    applicant: str
    amount_eur: int = Field(ge=500)
    clerk: str
    """Who took the request down, and therefore does not decide."""


class WithdrawalRequested(Event, type="lending.withdrawal.requested.v1", topic="lending.requests"):
    loan_id: Key[str]


class LoanPaidOut(Event, type="lending.loan.paid-out.v1", topic="lending.loans"):
    loan_id: Key[str]
    amount_eur: int
    approved_by: str | None


class LoanDeclined(Event, type="lending.loan.declined.v1", topic="lending.loans"):
    loan_id: Key[str]
    reason: str


class LoanWithdrawn(Event, type="lending.loan.withdrawn.v1", topic="lending.loans"):
    loan_id: Key[str]


# the checks: a flow of their own


class ChecksRequested(Event, type="lending.checks.requested.v1", topic="lending.checks"):
    loan_id: Key[str]
    applicant: str


class ChecksPassed(Event, type="lending.checks.passed.v1", topic="lending.checks"):
    score: int
    monthly_income_eur: int


# bureau


class Scored(Event, type="bureau.person.scored.v1"):
    score: int


class NoScore(Event, type="bureau.person.no-score.v1"):
    pass


class AskScore(Command[Scored, NoScore], type="bureau.score.ask.v1", topic="bureau.commands"):
    """The bureau keeps who asked, and that somebody has asked lowers the score: so it is taken back where it led to
    nothing."""

    loan_id: Key[str]
    applicant: str


# income


class IncomeVerified(Event, type="income.income.verified.v1"):
    monthly_eur: int


class IncomeUnproven(Event, type="income.income.unproven.v1"):
    pass


class VerifyIncome(Command[IncomeVerified, IncomeUnproven], type="income.income.verify.v1", topic="income.commands"):
    loan_id: Key[str]
    applicant: str


# screening


class NothingSuspicious(Event, type="screening.applicant.nothing-suspicious.v1"):
    pass


class FraudSuspected(Event, type="screening.applicant.suspected.v1"):
    pass


class LookForFraud(
    Command[NothingSuspicious, FraudSuspected], type="screening.applicant.look-at.v1", topic="screening.commands"
):
    loan_id: Key[str]
    applicant: str


# bank


class MoneySent(Event, type="bank.payout.sent.v1"):
    amount_eur: int


class AccountClosed(Event, type="bank.account.closed.v1"):
    pass


class PayOut(Command[MoneySent, AccountClosed], type="bank.payout.send.v1", topic="bank.commands"):
    loan_id: Key[str]
    applicant: str
    amount_eur: int
