"""``make demo-package-tracking``: a month of scans, late, twice and out of order; a day takes half a second and more.

Environment: see ``services/demo_kit/play.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from services.demo_kit.play import play
from services.demo_kit.reconcile import Books, Finding, settle
from services.demo_kit.stage import Stage
from services.package_tracking.make_scans import Told, events
from services.package_tracking.messages import ParcelHandedOver, ParcelRegistered
from services.package_tracking.world import GONE

APP = "services.package_tracking.app"
ENDS = ("it is delivered", "it has come back", "we have lost it")


async def demo(stage: Stage) -> list[Finding]:
    scans = events()
    ends = ends_of(scans)
    stage.environment["PARCEL_LOST_AFTER"] = "5s"  # seven days
    async with stage.crew(APP, ["depots", "notices"], coordinator="tracking") as crew:
        stage.say(f"{len(ends)} parcels are on their way, and {len(scans)} events tell of them\n")
        await stage.submit(crew, scans, lambda event: event.parcel_id, per_second=25)
        ended = stage.progress.those("completed")
        books = Books(stage.data)
        findings = await settle(lambda: reconcile(books, ends))
        waiting = await stage.instances_waiting(f"{APP}:tracking")
    missed = books.names("notices", "select distinct parcel_id from letters where says = 'we are looking for it'")
    stage.say(f"{len(missed)} parcels were not seen for too long; {len(missed - GONE)} of them turned up again")
    return [
        Finding("parcels whose story has ended", len(ends), len(ended)),
        *findings,
        Finding("instances left waiting", 0, waiting),
    ]


def ends_of(scans: Sequence[Told]) -> dict[str, str]:
    """How each parcel ends, in whatever order we are told."""
    ends = {event.parcel_id: "we have lost it" for event in scans if isinstance(event, ParcelRegistered)}
    for event in scans:
        if isinstance(event, ParcelHandedOver):
            ends[event.parcel_id] = "it is delivered" if event.to == "recipient" else "it has come back"
    return ends


def reconcile(books: Books, ends: dict[str, str]) -> list[Finding]:
    """Everybody was told once, and the truth; and nobody looks for a parcel any more."""
    findings: list[Finding] = []
    for end in ENDS:
        expected = {parcel for parcel, is_so in ends.items() if is_so == end}
        letters = f"from letters where says = '{end}'"
        told = books.names("notices", f"select parcel_id {letters}")
        findings += [
            Finding(f"parcels: {end}", len(expected), len(told & expected)),
            Finding(f"letters: {end}", len(expected), books.number("notices", f"select count(*) {letters}")),
        ]
    gone = {parcel for parcel, end in ends.items() if end == "we have lost it"}
    searched = books.names("depots", "select parcel_id from searches")
    return [
        *findings,
        Finding("parcels that are gone and were searched for", len(gone), len(searched & gone)),
        Finding("searches not called off", 0, books.number("depots", "select count(*) from searches where open")),
    ]


if __name__ == "__main__":
    sys.exit(play("package tracking", demo))
