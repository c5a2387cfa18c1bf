"""How does a request become money, or a no?"""

from orchestra import Approval, Data, Failure, Retry, StateMachine, starts_on, state
from services.loan_processing.checks import LoanChecks
from services.loan_processing.messages import (
    AccountClosed,
    ChecksPassed,
    ChecksRequested,
    LoanDeclined,
    LoanPaidOut,
    LoanRequested,
    LoanWithdrawn,
    PayOut,
    WithdrawalRequested,
)
from services.loan_processing.settings import HEAD_WITHIN, OFFICER_WITHIN

SMALL_EUR = 5_000
GOOD_SCORE = 500
BAD_SCORE = 300


class LoanData(Data):
    score: int | None = None
    monthly_income_eur: int | None = None
    approved_by: str | None = None
    reason: str = ""


class Loan(StateMachine[LoanData], name="loan", version=1):
    """Checks first; small loans of good people are paid at once, and about all others a person decides."""

    request = starts_on(LoanRequested)

    pending = state(initial=True)
    checking = state(pending, initial=True)
    review = state(pending)
    second_review = state(pending)
    paying = state()
    in_doubt = state()
    paid_out = state(final=True)
    declined = state(final=True, failed=True)
    withdrawn = state(final=True)

    pending.on(WithdrawalRequested, to=withdrawn)  # while the money is under way, it is too late

    # three checks side by side: a flow, which runs while the state is active

    @checking.runs(LoanChecks, yields=ChecksPassed)
    def check(self) -> ChecksRequested:
        return ChecksRequested(loan_id=self.request.loan_id, applicant=self.request.applicant)

    def is_bad(self, passed: ChecksPassed) -> bool:
        return passed.score < BAD_SCORE

    def is_easy(self, passed: ChecksPassed) -> bool:
        return passed.score >= GOOD_SCORE and self.request.amount_eur <= SMALL_EUR

    @check.done(to=declined, when=is_bad)
    def decline_bad(self, passed: ChecksPassed) -> LoanData:
        return LoanData(score=passed.score, reason=f"a score of {passed.score}")

    @check.done(to=paying, when=is_easy)
    @check.done(to=review)
    def keep(self, passed: ChecksPassed) -> LoanData:
        return LoanData(score=passed.score, monthly_income_eur=passed.monthly_income_eur)

    @check.failed(to=declined)
    def decline_unchecked(self, failure: Failure) -> LoanData:
        return LoanData(reason=failure.reason)

    # somebody who did not take the request down decides

    def asked_by(self) -> str:
        return self.request.clerk

    officer = review.approval(role="credit-officer", requester=asked_by)
    review.after(OFFICER_WITHIN, to=second_review)
    head = second_review.approval(role="head-of-credit", requester=asked_by)
    treasurer = in_doubt.approval(role="treasurer")

    @officer.approved(to=paying)
    @head.approved(to=paying)
    def agree(self, decision: Approval) -> LoanData:
        return self.data.model_copy(update={"approved_by": decision.by})

    @officer.rejected(to=declined)
    @head.rejected(to=declined)
    @treasurer.rejected(to=declined)
    def refuse(self, decision: Approval) -> LoanData:
        return self.data.model_copy(update={"reason": decision.reason})

    @second_review.after(HEAD_WITHIN, to=declined)
    def lapse(self) -> LoanData:
        return self.data.model_copy(update={"reason": "nobody has decided"})

    # the money: asked for under one effect id until the bank has answered

    @paying.entry(timeout="20s", retry=Retry(attempts=20))
    def pay(self) -> PayOut:
        return PayOut(
            loan_id=self.request.loan_id, applicant=self.request.applicant, amount_eur=self.request.amount_eur
        )

    pay.done(to=paid_out)

    @pay.rejected(to=declined)
    def decline_unpayable(self, closed: AccountClosed) -> LoanData:
        return self.data.model_copy(update={"reason": "the account is closed"})

    # nobody knows whether it was sent: neither declined nor paid again, but looked at

    pay.failed(to=in_doubt)
    treasurer.approved(to=paid_out)

    # what everybody may know

    @paid_out.entry
    def tell_paid_out(self) -> LoanPaidOut:
        return LoanPaidOut(
            loan_id=self.request.loan_id, amount_eur=self.request.amount_eur, approved_by=self.data.approved_by
        )

    @declined.entry
    def tell_declined(self) -> LoanDeclined:
        return LoanDeclined(loan_id=self.request.loan_id, reason=self.data.reason)

    @withdrawn.entry
    def tell_withdrawn(self) -> LoanWithdrawn:
        return LoanWithdrawn(loan_id=self.request.loan_id)
