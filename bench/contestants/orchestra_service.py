"""Orchestra, as a user runs it: ``orchestra run bench.contestants.orchestra_service:many_lanes``."""

from __future__ import annotations

from bench.contestants.counting import counting
from bench.contestants.watch import Watch

watch = Watch.from_environment()
one_lane = counting("one-lane", 1, watch)
many_lanes = counting("many-lanes", 64, watch)
