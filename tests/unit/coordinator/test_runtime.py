"""A coordinator on the memory transport, in virtual time: whole processes, killed and moved."""

from __future__ import annotations

import pytest

from tests.unit.coordinator.harness import world

pytestmark = pytest.mark.virtual_time


async def test_an_order_runs_to_its_end() -> None:
    async with world() as w:
        await w.process()

        await w.place("o1")

        await w.until(lambda: w.statuses()["completed"] == 1)
        await w.until(lambda: len(w.journal()) == 3)
        assert w.steps("o1") == ["a1", "a2"]
        assert [entry["status"] for entry in w.journal()] == ["running", "running", "completed"]
