"""income: what does somebody earn? It asks the employer and keeps nothing, so there is nothing to undo."""

import asyncio

from orchestra import Service
from services.loan_processing.messages import IncomeUnproven, IncomeVerified, VerifyIncome
from services.loan_processing.world import EMPLOYER_SECONDS, PEOPLE

income = Service("income")


@income.handles(VerifyIncome, timeout="10s")
async def verify_income(command: VerifyIncome) -> IncomeVerified | IncomeUnproven:
    await asyncio.sleep(EMPLOYER_SECONDS)
    monthly = PEOPLE[command.applicant].monthly_income_eur
    return IncomeUnproven() if monthly is None else IncomeVerified(monthly_eur=monthly)
