"""A loan that an officer agrees to."""

from __future__ import annotations

from orchestra import Approval, Event, Flow, Key, approval, on_completed, starts_on


class Asked(Event, type="loan.asked.v1", topic="loan.asked"):
    loan_id: Key[str]
    cents: int
    clerk: str
    papers: str = ""


class Decided(Event, type="loan.decided.v1", topic="loan.decided"):
    loan_id: Key[str]
    yes: bool
    by: str | None


class Loan(Flow, name="loan", version=1):
    """An officer decides; after five minutes the head of credit may as well."""

    asked = starts_on(Asked)

    def clerk_of(self) -> str:
        return self.asked.clerk

    agreed = approval(
        role="credit-officer",
        timeout="1h",
        escalate=("5m", "head-of-credit"),
        on_reject="continue",
        on_timeout="continue",
        requester=clerk_of,
    )

    @on_completed(agreed)
    def decided(self, agreed: Approval) -> Decided:
        return Decided(loan_id=self.asked.loan_id, yes=agreed.approved, by=agreed.by)
