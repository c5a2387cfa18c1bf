"""Is it said which recorded histories a version would have decided otherwise?"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestra.cli.main import app
from orchestra.coordinator.instances import read_journal
from orchestra.testing.virtual_time import VirtualTimeLoop
from tests.unit.coordinator.harness import NAMES
from tests.unit.coordinator.test_rolling_versions import V1, over, shop

V1_CLASS, V2_CLASS = "tests.unit.flows.shop:FoodOrder", "tests.unit.flows.shop_versions:FoodOrderV2"


async def recorded() -> list[dict[str, object]]:
    async with shop() as w:
        await w.process(V1)
        await w.take_orders(20)
        await over(w)
        return await read_journal(w.transport, NAMES)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        entries = runner.run(recorded())
    path = tmp_path_factory.mktemp("histories") / "histories.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def test_histories_that_are_decided_as_they_were(file: Path) -> None:
    result = CliRunner().invoke(app, ["check", V1_CLASS, "--histories", str(file)])

    assert result.exit_code == 0, result.stderr
    assert result.stdout == "✓ food-order version 1: 20 of 20 histories are decided as they were (80 inputs)\n"


def test_histories_that_go_another_way_are_grouped(file: Path) -> None:
    result = CliRunner().invoke(app, ["check", V2_CLASS, "--histories", str(file)])

    assert result.exit_code == 1
    first, group, instances = result.stdout.splitlines()
    assert first.startswith("✗ food-order version 2: 2 of 20 histories are decided as they were (")
    assert group.startswith("  18 × on dispatch.driver.assigned.v1: shop.order.confirmed.v1 (completed) is not sent; ")
    assert instances.endswith("and 13 more")


def test_each_divergence_is_told_to_machines(file: Path) -> None:
    result = CliRunner().invoke(app, ["check", V2_CLASS, "--histories", str(file), "--json"])

    found = json.loads(result.stdout)
    assert len(found) == 20
    diverged = next(one["divergence"] for one in found if one["divergence"])
    assert (diverged["entry"], diverged["what"], diverged["given"]) == (4, "messages", "dispatch.driver.assigned.v1")


def test_histories_of_other_flows_or_a_missing_file_are_a_mistake(file: Path, tmp_path: Path) -> None:
    other = CliRunner().invoke(app, ["check", "tests.unit.flows.parcel:Parcel", "--histories", str(file)])
    missing = CliRunner().invoke(app, ["check", V1_CLASS, "--histories", str(tmp_path / "no")])

    assert (other.exit_code, missing.exit_code) == (2, 2)
    assert "it holds histories of food-order, and not of parcel" in other.stderr
    assert "No such file" in missing.stderr
