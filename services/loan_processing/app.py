"""What runs? Each service and the coordinator can be a process of its own, or all of them one (``app``)."""

from orchestra import App, Coordinator
from services.loan_processing.bank import bank
from services.loan_processing.bureau import bureau
from services.loan_processing.checks import LoanChecks
from services.loan_processing.flow import Loan
from services.loan_processing.income import income
from services.loan_processing.screening import screening

lending = Coordinator("lending", flows=[Loan, LoanChecks])

app = App(services=[bureau, income, screening, bank], coordinators=[lending])
