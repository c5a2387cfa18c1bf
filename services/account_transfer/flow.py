"""How does money get from one bank to another, all of it or none?"""

from orchestra import Failure, Retry, Saga, on_compensated, on_completed, pivot, starts_on, step
from services.account_transfer.messages import (
    CreditAccount,
    Credited,
    DebitAccount,
    Debited,
    ReturnDebit,
    TransferCompleted,
    TransferFailed,
    TransferRequested,
)


class Transfer(Saga, name="transfer", version=1):
    """Debit, then credit. What is credited stays; while nobody knows whether it is, the bank is asked again."""

    request = starts_on(TransferRequested)

    @step(timeout="20s", retry=Retry(attempts=3))
    def debit(self) -> DebitAccount:
        return DebitAccount(
            account=self.request.debtor,
            transfer_id=self.request.transfer_id,
            amount_cents=self.request.amount_cents,
        )

    @debit.undo
    def give_back(self, debited: Debited | None) -> ReturnDebit:
        return ReturnDebit(account=self.request.debtor, transfer_id=self.request.transfer_id)

    @pivot(debit, timeout="20s")
    def credit(self, debited: Debited) -> CreditAccount:
        return CreditAccount(
            account=self.request.creditor,
            transfer_id=self.request.transfer_id,
            amount_cents=debited.amount_cents,
        )

    @on_completed(credit)
    def complete(self, credited: Credited) -> TransferCompleted:
        return TransferCompleted(transfer_id=self.request.transfer_id, amount_cents=credited.amount_cents)

    @on_compensated
    def fail(self, failure: Failure) -> TransferFailed:
        return TransferFailed(transfer_id=self.request.transfer_id, reason=f"{failure.step}: {failure.reason}")
