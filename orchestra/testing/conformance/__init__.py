"""What must a transport do? One suite of tests that every implementation of ``orchestra.transport.port`` passes.

Bring a :class:`Lab` for your transport as a fixture, and inherit::

    class TestMyTransport(TransportConformance):
        @pytest.fixture
        async def lab(self):
            async with MyLab() as lab:
                yield lab
"""

from __future__ import annotations

from orchestra.testing.conformance.committing import PlaceConformance
from orchestra.testing.conformance.fencing import FencingConformance
from orchestra.testing.conformance.groups import GroupConformance
from orchestra.testing.conformance.lab import Lab, Member
from orchestra.testing.conformance.publishing import PublishingConformance
from orchestra.testing.conformance.reading import ReadingConformance

__all__ = ["Lab", "Member", "TransportConformance"]


class TransportConformance(
    PublishingConformance, GroupConformance, PlaceConformance, FencingConformance, ReadingConformance
):
    """The whole suite. Needs an async fixture ``lab``."""
