"""How long may a parcel be silent? Days; the demo has no days, and says so by the environment."""

import os

LOST_AFTER = os.environ.get("PARCEL_LOST_AFTER", "7d")
WRITTEN_OFF_AFTER = os.environ.get("PARCEL_WRITTEN_OFF_AFTER", "14d")
"""Once it is lost, and whatever the depots say by then."""
