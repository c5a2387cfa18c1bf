"""A loan: two checks side by side, one of them a saga; then a person decides, and a second one when nobody does."""

from __future__ import annotations

from typing import Never

from orchestra import (
    Approval,
    Command,
    Data,
    Event,
    Failure,
    Key,
    Saga,
    StateMachine,
    Undo,
    on_completed,
    on_started,
    starts_on,
    state,
    step,
)


class LoanRequested(Event, type="loans.loan.requested.v1", topic="loans"):
    loan_id: Key[str]
    amount: int
    clerk: str


class LoanWithdrawn(Event, type="loans.loan.withdrawn.v1", topic="loans.requests"):
    loan: str
    by: str


class LoanPaidOut(Event, type="loans.loan.paid-out.v1", topic="loans"):
    loan_id: Key[str]
    amount: int
    officer: str


class LoanDeclined(Event, type="loans.loan.declined.v1", topic="loans"):
    loan_id: Key[str]
    reason: str


class CreditCheckAsked(Event, type="credit.check.asked.v1", topic="credit"):
    check_id: Key[str]
    amount: int


class CreditScored(Event, type="credit.check.scored.v1", topic="credit"):
    score: int


class Scored(Event, type="credit.score.made.v1"):
    score: int


class Unknown(Event, type="credit.score.unknown.v1"):
    pass


class AskBureau(Command[Scored, Unknown], type="credit.bureau.ask.v1", topic="credit.commands"):
    check_id: Key[str]


class CreditCheck(Saga, name="credit-check", version=1):
    """Ask the bureau for a score; the request is withdrawn when it is not needed."""

    asked = starts_on(CreditCheckAsked)

    @step(undo=Undo)
    def bureau(self) -> AskBureau:
        return AskBureau(check_id=self.asked.check_id)

    @on_completed(bureau)
    def tell(self, scored: Scored) -> CreditScored:
        return CreditScored(score=scored.score)


class Identified(Event, type="identity.person.identified.v1"):
    pass


class CheckIdentity(Command[Identified, Never], type="identity.person.check.v1", topic="identity.commands"):
    loan_id: Key[str]


class LoanData(Data):
    amount: int
    score: int | None = None
    officer: str = ""
    reason: str = ""


class Loan(StateMachine[LoanData], name="loan", version=1):
    """From the request to the money, or to a no."""

    request = starts_on(LoanRequested)

    pending = state(initial=True)
    checking = state(pending, initial=True, parallel=True)
    credit = state(checking)
    scoring = state(credit, initial=True)
    scored = state(credit, final=True)
    identity = state(checking)
    identifying = state(identity, initial=True)
    identified = state(identity, final=True)
    review = state(pending)
    second_review = state(pending)
    paid_out = state(final=True)
    declined = state(final=True, failed=True)
    withdrawn = state(final=True)

    @on_started
    def begin(self) -> LoanData:
        return LoanData(amount=self.request.amount)

    @scoring.runs(CreditCheck, yields=CreditScored)
    def score(self) -> CreditCheckAsked:
        return CreditCheckAsked(check_id=f"{self.request.loan_id}-credit", amount=self.data.amount)

    @score.done(to=scored)
    def keep_score(self, scored: CreditScored) -> LoanData:
        return self.data.model_copy(update={"score": scored.score})

    @score.failed(to=declined)
    def no_score(self, failure: Failure) -> LoanData:
        return self.data.model_copy(update={"reason": failure.reason})

    @identifying.entry(timeout="1h")
    def identify(self) -> CheckIdentity:
        return CheckIdentity(loan_id=self.request.loan_id)

    identify.done(to=identified)
    identify.failed(to=declined)

    def is_risky(self) -> bool:
        return (self.data.score or 0) < 300

    @checking.done(to=declined, when=is_risky)
    def too_risky(self) -> LoanData:
        return self.data.model_copy(update={"reason": f"a score of {self.data.score}"})

    checking.done(to=review)

    def asked_by(self) -> str:
        return self.request.clerk

    decision = review.approval(role="credit-officer", requester=asked_by)
    second_decision = second_review.approval(role="head-of-credit", requester=asked_by)
    review.after("2d", to=second_review)

    @decision.approved(to=paid_out)
    @second_decision.approved(to=paid_out)
    def agree(self, decided: Approval) -> LoanData:
        return self.data.model_copy(update={"officer": decided.by or ""})

    @decision.rejected(to=declined)
    @second_decision.rejected(to=declined)
    def refuse(self, decided: Approval) -> LoanData:
        return self.data.model_copy(update={"reason": decided.reason})

    pending.on(LoanWithdrawn, to=withdrawn, by="loan")

    @paid_out.entry
    def pay(self) -> LoanPaidOut:
        return LoanPaidOut(loan_id=self.request.loan_id, amount=self.data.amount, officer=self.data.officer)

    @declined.entry
    def decline(self) -> LoanDeclined:
        return LoanDeclined(loan_id=self.request.loan_id, reason=self.data.reason)
