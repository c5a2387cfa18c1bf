"""What is to go wrong in one process of the counting service?"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Self

from orchestra.retry import Order

VARIABLE = "FAULTS_PLAN"


@dataclass(frozen=True, slots=True)
class Plan:
    """How one process behaves.

    Attributes:
        delay: seconds that each handling takes.
        timeout: of one attempt.
        in_flight: handlers at once.
        die: a stage, and at which record in that stage the process kills itself; see :mod:`tests.faults.dying`.
        hold_commits: from which commit on answers are swallowed, and for how many seconds.
        order: what becomes of an account's later commands while one waits for a later try.
        fails: every handling fails, as after a bad deployment.
    """

    delay: float = 0.0
    timeout: str = "5m"
    in_flight: int = 64
    die: tuple[str, int] = ("", 0)
    hold_commits: tuple[int, float] = (0, 0.0)
    order: Order = "block_key"
    fails: bool = False

    @classmethod
    def of_environment(cls) -> Self:
        return cls(**json.loads(os.environ.get(VARIABLE, "{}")))

    def environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}
