"""Account transfer: the saga as a story, and transfers on their way through both banks."""

from __future__ import annotations

from pathlib import Path

import orchestra
from orchestra.testing import run
from orchestra.testing.memory import published, running_in_memory
from services.account_transfer.app import app
from services.account_transfer.customers import CLOSED
from services.account_transfer.demo import reconcile
from services.account_transfer.flow import Transfer
from services.account_transfer.make_transfers import TRANSFERS, lines
from services.account_transfer.messages import (
    CreditAccount,
    Credited,
    CreditRefused,
    DebitAccount,
    Debited,
    DebitRefused,
    DebitReturned,
    ReturnDebit,
    TransferCompleted,
    TransferFailed,
    TransferRequested,
)
from services.demo_kit.reconcile import Books
from tests.unit.services.conftest import until

REQUEST = TransferRequested(transfer_id="t-1", debtor="DE-001", creditor="FR-001", amount_cents=500)


def test_what_is_debited_is_credited() -> None:
    t = run(Transfer, REQUEST)

    t.expect(DebitAccount(account="DE-001", transfer_id="t-1", amount_cents=500)).reply(Debited(amount_cents=500))
    t.expect(CreditAccount(account="FR-001", transfer_id="t-1", amount_cents=500)).reply(Credited(amount_cents=500))

    assert t.completed(TransferCompleted).amount_cents == 500


def test_nothing_is_credited_where_nothing_was_debited() -> None:
    t = run(Transfer, REQUEST)

    t.expect(DebitAccount).reject(DebitRefused(reason="there is not enough on the account"))

    assert t.compensated(TransferFailed).reason == "debit: rejected: DebitRefused"
    t.nothing_sent()


def test_a_closed_account_gives_the_money_back() -> None:
    t = run(Transfer, REQUEST)
    t.expect(DebitAccount).reply(Debited(amount_cents=500))

    t.expect(CreditAccount).reject(CreditRefused(reason="FR-001 is closed"))
    t.expect(ReturnDebit(account="DE-001", transfer_id="t-1")).reply(DebitReturned(amount_cents=500))

    t.compensated(TransferFailed)


def test_a_credit_that_may_have_happened_is_never_undone() -> None:
    t = run(Transfer, REQUEST)
    t.expect(DebitAccount).reply(Debited(amount_cents=500))

    credit = t.expect(CreditAccount)
    for _ in range(5):
        credit.times_out()
        again = t.expect(CreditAccount)
        assert again.effect_id == credit.effect_id
        credit = again
    credit.reply(Credited(amount_cents=500))

    t.completed(TransferCompleted)


def test_a_debit_that_may_have_happened_is_given_back() -> None:
    t = run(Transfer, REQUEST)

    for _ in range(3):
        t.expect(DebitAccount).times_out()
    t.expect(ReturnDebit).reply(DebitReturned(amount_cents=0))

    t.compensated(TransferFailed)


def test_the_checked_in_transfers_are_the_generated_ones_and_some_must_fail() -> None:
    requests = [TransferRequested.model_validate_json(line) for line in TRANSFERS.read_text().splitlines()]

    assert TRANSFERS.read_text().splitlines() == lines(360, seed=3)
    assert sum(request.creditor in CLOSED for request in requests) > 10


async def test_no_money_is_made_or_lost(data: Path) -> None:
    requests = [TransferRequested.model_validate_json(line) for line in TRANSFERS.read_text().splitlines()[:45]]
    amounts = {request.transfer_id: request.amount_cents for request in requests}

    async with running_in_memory(app) as log, orchestra.connect(transport=log) as bus:
        await bus.publish(*requests)
        await until(
            lambda: len(published(log, TransferCompleted)) + len(published(log, TransferFailed)) == len(amounts)
        )
        completed = {one.transfer_id for one in published(log, TransferCompleted)}

    assert 0 < len(completed) < len(amounts)
    findings = reconcile(Books(data), amounts, completed, amounts.keys() - completed)
    assert [finding for finding in findings if not finding.holds] == []
