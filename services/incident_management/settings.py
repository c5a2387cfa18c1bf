"""How long may an incident wait, and for what? Minutes; the demo has shorter ones, and says so by the environment."""

import os
from datetime import timedelta

MINUTE = timedelta(seconds=float(os.environ.get("INCIDENT_MINUTE_SECONDS", "60")))

PATIENCE = {1: 5 * MINUTE, 2: 15 * MINUTE}
"""By severity: until somebody has it, at each level."""
REMIND_AFTER = 30 * MINUTE
"""At the last level, over and over."""
SOLVED_WITHIN = 480 * MINUTE
"""By whoever has it; then others are paged."""
QUIET_FOR = 30 * MINUTE
"""Once it is solved; then it is closed."""
