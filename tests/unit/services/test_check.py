"""Does every flow of every scenario end as it must, whatever happens?"""

from __future__ import annotations

import pytest

from orchestra.cli.check_targets import Checked, flows_of
from orchestra.clock import SystemClock
from orchestra.flows.check.prove import check_definition

FLOWS = flows_of("services")
CALLED = {name for one in FLOWS for name in one.definition.calls}


@pytest.mark.parametrize("checked", FLOWS, ids=[f"{one.definition.name}-{one.definition.version}" for one in FLOWS])
def test_whatever_happens_it_ends_as_it_must(checked: Checked) -> None:
    report = check_definition(
        checked.definition, called=checked.definition.name in CALLED, elapsed=SystemClock().elapsed
    )

    assert report.violation is None, report.violation.story
    assert not [one for one in report.findings if one.level == "mistake"]
    assert report.verdict == "proved"
