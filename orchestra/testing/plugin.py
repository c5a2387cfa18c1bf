"""Which fixtures does ``pip install orchestra`` give to pytest?

Loaded by pytest in every project that has orchestra installed: its top imports nothing that costs time.
"""

from __future__ import annotations
