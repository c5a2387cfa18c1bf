"""What runs? Each bank and the coordinator can be a process of its own, or all of them one (``app``)."""

from orchestra import App, Coordinator
from services.account_transfer.creditor_bank import creditor_bank
from services.account_transfer.debtor_bank import debtor_bank
from services.account_transfer.flow import Transfer

transfers = Coordinator("transfers", flows=[Transfer])

app = App(services=[debtor_bank, creditor_bank], coordinators=[transfers])
