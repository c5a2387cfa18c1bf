"""``make demo-account-transfer``: a month's transfers between two banks, with an auditor who looks all the while.

Environment: see ``services/demo_kit/play.py``.
"""

from __future__ import annotations

import asyncio
import sys

from services.account_transfer.customers import CREDITORS, DEBTORS
from services.account_transfer.make_transfers import TRANSFERS
from services.account_transfer.messages import TransferRequested
from services.demo_kit.play import play
from services.demo_kit.reconcile import Books, Finding, settle
from services.demo_kit.stage import Stage

APP = "services.account_transfer.app"
BANKS = ("debtor-bank", "creditor-bank")
SUM = "select sum(amount_cents) from postings"
UNRETURNED = "select transfer_id from postings where account = 'clearing' group by 1 having sum(amount_cents) != 0"
TWICE = "select count(*) from (select 1 from postings group by transfer_id, kind, account having count(*) > 1)"
OVERDRAWN = """
    select count(*) from accounts
    where opening_cents + (select sum(amount_cents) from postings where postings.account = accounts.account) < 0
"""


async def demo(stage: Stage) -> list[Finding]:
    requests = [TransferRequested.model_validate_json(line) for line in TRANSFERS.read_text().splitlines()]
    amounts = {request.transfer_id: request.amount_cents for request in requests}
    books = Books(stage.data)
    async with stage.crew(APP, ["debtor_bank", "creditor_bank"], coordinator="transfers") as crew:
        auditor = Auditor(books)
        auditing = asyncio.create_task(auditor.look_on())
        stage.say(f"requesting {len(amounts)} transfers, some of them twice\n")
        await stage.submit(crew, requests, lambda request: request.transfer_id, per_second=18)
        completed, failed = stage.progress.those("completed"), stage.progress.those("compensated")
        findings = await settle(lambda: reconcile(books, amounts, completed, failed))
        if not auditing.cancel():
            auditing.result()  # why it has stopped looking
        waiting = await stage.instances_waiting(f"{APP}:transfers")
    stage.say(f"the auditor looked {auditor.looks} times")
    return [
        *findings,
        Finding("looks at a book that did not balance", 0, auditor.wrong),
        Finding("instances left waiting", 0, waiting),
    ]


class Auditor:
    """Looks at both books while money moves: at every moment each must balance."""

    def __init__(self, books: Books) -> None:
        self.looks = 0
        self.wrong = 0
        self._books = books

    async def look_on(self) -> None:
        while True:
            for bank in BANKS:
                self.looks += 1
                self.wrong += self._books.number(bank, SUM) != 0
            await asyncio.sleep(0.2)


def reconcile(books: Books, amounts: dict[str, int], completed: set[str], failed: set[str]) -> list[Finding]:
    """No money made, none lost: what the flows say, beside what stands in the books."""
    paid = sum(amounts[transfer] for transfer in completed)
    cleared = {bank: books.number(bank, f"{SUM} where account = 'clearing'") for bank in BANKS}
    moved = sum(books.number(bank, f"{SUM} where account != 'clearing'") for bank in BANKS)
    opening = sum([*DEBTORS.values(), *CREDITORS.values()])
    return [
        Finding("transfers that have ended", len(amounts), len(completed | failed)),
        Finding("cents of all customers, as at the beginning", opening, opening + moved),
        Finding("cents of completed transfers = have left the one bank", paid, cleared["debtor-bank"]),
        Finding("cents of completed transfers = have come to the other", paid, -cleared["creditor-bank"]),
        Finding("failed transfers that kept money", 0, len(books.names("debtor-bank", UNRETURNED) & failed)),
        Finding("postings made twice", 0, sum(books.number(bank, TWICE) for bank in BANKS)),
        Finding("accounts overdrawn", 0, books.number("debtor-bank", OVERDRAWN)),
    ]


if __name__ == "__main__":
    sys.exit(play("account transfer", demo))
