"""What do the flow and the two banks say to each other? Commands are keyed by account: one at a time for each."""

from typing import Never

from pydantic import Field

from orchestra import Command, Event, Key


class TransferRequested(Event, type="transfers.transfer.requested.v1", topic="transfers.requests"):
    transfer_id: Key[str]
    debtor: str
    creditor: str
    amount_cents: int = Field(ge=1)


class TransferCompleted(Event, type="transfers.transfer.completed.v1", topic="transfers.requests"):
    transfer_id: Key[str]
    amount_cents: int


class TransferFailed(Event, type="transfers.transfer.failed.v1", topic="transfers.requests"):
    transfer_id: Key[str]
    reason: str


# the debtor's bank


class Debited(Event, type="debtor-bank.account.debited.v1"):
    amount_cents: int


class DebitRefused(Event, type="debtor-bank.account.debit-refused.v1"):
    reason: str


class DebitAccount(Command[Debited, DebitRefused], type="debtor-bank.account.debit.v1", topic="debtor-bank.commands"):
    account: Key[str]
    transfer_id: str
    amount_cents: int


class DebitReturned(Event, type="debtor-bank.debit.returned.v1"):
    amount_cents: int


class ReturnDebit(Command[DebitReturned, Never], type="debtor-bank.debit.return.v1", topic="debtor-bank.commands"):
    account: Key[str]
    transfer_id: str


# the creditor's bank


class Credited(Event, type="creditor-bank.account.credited.v1"):
    amount_cents: int


class CreditRefused(Event, type="creditor-bank.account.credit-refused.v1"):
    reason: str


class CreditAccount(
    Command[Credited, CreditRefused], type="creditor-bank.account.credit.v1", topic="creditor-bank.commands"
):
    account: Key[str]
    transfer_id: str
    amount_cents: int
