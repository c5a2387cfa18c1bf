"""How long do people have to decide? Days; the demo has no days, and says so by the environment."""

import os

OFFICER_WITHIN = os.environ.get("LOAN_OFFICER_WITHIN", "2d")
HEAD_WITHIN = os.environ.get("LOAN_HEAD_WITHIN", "5d")
"""When the officers have let their time pass; then the request lapses."""
