"""screening: does somebody look like a fraud? It only looks."""

import asyncio

from orchestra import Service
from services.loan_processing.messages import FraudSuspected, LookForFraud, NothingSuspicious
from services.loan_processing.world import MODEL_SECONDS, PEOPLE

screening = Service("screening")


@screening.handles(LookForFraud, timeout="10s")
async def look_for_fraud(command: LookForFraud) -> NothingSuspicious | FraudSuspected:
    await asyncio.sleep(MODEL_SECONDS)
    return FraudSuspected() if PEOPLE[command.applicant].is_suspicious else NothingSuspicious()
