"""Is this a person to lend money to? Three answers, asked for at the same time."""

from orchestra import Retry, Saga, Undo, on_completed, starts_on, step
from services.loan_processing.messages import (
    AskScore,
    ChecksPassed,
    ChecksRequested,
    IncomeVerified,
    LookForFraud,
    Scored,
    VerifyIncome,
)

TRIES = Retry(attempts=3)


class LoanChecks(Saga, name="loan-checks", version=1):
    """Credit, income and fraud side by side. The first that says no ends it, and the bureau forgets that we asked."""

    asked = starts_on(ChecksRequested)

    @step(undo=Undo, timeout="20s", retry=TRIES)
    def credit(self) -> AskScore:
        return AskScore(loan_id=self.asked.loan_id, applicant=self.asked.applicant)

    @step(kind="read_only", timeout="20s", retry=TRIES)
    def income(self) -> VerifyIncome:
        return VerifyIncome(loan_id=self.asked.loan_id, applicant=self.asked.applicant)

    @step(kind="read_only", timeout="20s", retry=TRIES)
    def fraud(self) -> LookForFraud:
        return LookForFraud(loan_id=self.asked.loan_id, applicant=self.asked.applicant)

    @on_completed(credit, income)
    def passed(self, scored: Scored, income: IncomeVerified) -> ChecksPassed:
        return ChecksPassed(score=scored.score, monthly_income_eur=income.monthly_eur)
