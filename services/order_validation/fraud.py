"""fraud: is this order too risky? It only looks, so it keeps nothing, and there is nothing to undo."""

import asyncio

from orchestra import Service
from services.order_validation.messages import AssessRisk, RiskAcceptable, RiskTooHigh
from services.order_validation.rules import HIGHEST_RISK, MODEL_SECONDS, risk

fraud = Service("fraud")


@fraud.handles(AssessRisk, timeout="10s")
async def assess_risk(command: AssessRisk) -> RiskAcceptable | RiskTooHigh:
    await asyncio.sleep(MODEL_SECONDS)
    score = risk(command.country, command.amount_cents)
    return RiskTooHigh(score=score) if score > HIGHEST_RISK else RiskAcceptable(score=score)
