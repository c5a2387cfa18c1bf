"""Do the scenarios fit together: is every command handled, and does nothing go round for ever?"""

from __future__ import annotations

from orchestra.cli.discovery import discover
from orchestra.landscape.finding import FindingKind, find
from orchestra.landscape.survey import survey


def test_every_command_of_the_scenarios_is_handled_and_nothing_goes_round_for_ever() -> None:
    found = discover(["services/"])

    landscape = survey(found.services, found.definitions)

    wrong = [one.text for one in find(landscape) if one.kind in (FindingKind.COMMAND_UNHANDLED, FindingKind.CIRCLE)]
    assert wrong == []
    assert len(landscape.actors) >= 20
