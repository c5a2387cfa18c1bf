"""Is a flow drawn from the command line?"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestra.cli import graph
from orchestra.cli.main import app
from orchestra.coordinator.coordinator import Coordinator
from orchestra.coordinator.instances import Details, Summary
from orchestra.flows.decision import StepView

FLOW = "services.food_delivery.flow:FoodOrder"


def test_a_flow_is_drawn_as_mermaid() -> None:
    result = CliRunner().invoke(app, ["graph", FLOW])

    assert result.exit_code == 0
    assert "flowchart TD\n" in result.stdout
    assert "AssignDriver" in result.stdout


def test_a_markdown_file_gets_a_fenced_block(tmp_path: Path) -> None:
    CliRunner().invoke(app, ["graph", FLOW, "--to", str(tmp_path / "flow.md")])

    text = (tmp_path / "flow.md").read_text()
    assert text.startswith("```mermaid\n---\ntitle:")
    assert text.endswith("```\n")


def test_the_files_ending_says_the_format(tmp_path: Path) -> None:
    for name, begins in (("flow.svg", "<svg"), ("flow.dot", "digraph"), ("flow.mmd", "---\ntitle")):
        CliRunner().invoke(app, ["graph", FLOW, "--to", str(tmp_path / name)])

        assert (tmp_path / name).read_text().startswith(begins)


def test_an_ending_that_says_no_format_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["graph", FLOW, "--to", str(tmp_path / "flow.png")])

    assert result.exit_code == 2
    assert ".svg" in result.stderr


def test_what_is_no_flow_is_refused_and_the_flows_are_named() -> None:
    result = CliRunner().invoke(app, ["graph", "services.food_delivery.flow:OrderPlaced"])

    assert result.exit_code == 2
    assert f"There is: {FLOW}." in result.stderr


def test_an_instance_is_drawn_over_its_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    asked: list[tuple[str, str]] = []

    async def details(coordinator: Coordinator, wanted: str) -> Details:
        asked.append((coordinator.name, wanted))
        summary = Summary(wanted, "food-order/1", "running", at, None, 0)
        steps = [StepView("reserve", "done", "compensatable"), StepView("charge", "running", "compensatable", 2)]
        return Details(summary, "o-1", 1, 0, at, None, steps, (), None, 0, 0)

    monkeypatch.setattr(graph, "_details", details)

    for target in (FLOW, "services.food_delivery.app:app"):
        result = CliRunner().invoke(app, ["graph", target, "--instance", "o-1"])
        assert "food-order/o-1: running" in result.stdout
        assert "<b>charge</b><br/>ChargePayment<br/>up to 3 tries of 30 s<br/>try 2" in result.stdout
        assert result.exit_code == 0
    assert asked == [("food", "food-order/o-1")] * 2


def test_a_system_is_drawn_and_what_is_wrong_is_told_aside() -> None:
    result = CliRunner().invoke(app, ["graph", "tests/unit/landscape/storm.py", "--strict"])

    assert result.exit_code == 1
    assert "flowchart LR" in result.stdout
    assert "circle: this could go round for ever: Ping, to which left.on_ping reacts with Pong" in result.stderr


def test_findings_are_told_to_machines_and_what_is_outside_is_none(tmp_path: Path) -> None:
    picture = tmp_path / "map.svg"
    result = CliRunner().invoke(
        app, ["graph", "services/food_delivery", "--json", "--strict", "--outside", "x.*", "--to", str(picture)]
    )

    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["flows"] == ["food-order"]
    assert told["findings"] == []
    assert picture.read_text().startswith("<svg")


def test_a_folder_without_anything_is_refused() -> None:
    result = CliRunner().invoke(app, ["graph", "orchestra/sql"])

    assert result.exit_code == 2
    assert "there is no service, coordinator or flow" in result.stderr


def test_where_graphviz_lacks_a_library_of_the_system_svg_says_which(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pygraphviz.py").write_text("raise ImportError('libgobject-2.0.so.0: no such file')")
    monkeypatch.delitem(sys.modules, "pygraphviz", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))

    refused = CliRunner().invoke(app, ["graph", FLOW, "--format", "svg"])

    assert refused.exit_code == 3
    assert "libgobject-2.0.so.0" in refused.stderr
    assert "apt-get install libglib2.0-0" in refused.stderr


def test_without_the_extra_svg_says_how_to_get_it_and_the_rest_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygraphviz", None)

    refused = CliRunner().invoke(app, ["graph", FLOW, "--format", "svg"])
    drawn = CliRunner().invoke(app, ["graph", FLOW, "--format", "dot"])

    assert (refused.exit_code, drawn.exit_code) == (3, 0)
    assert "pip install 'orchestra[graph]'" in refused.stderr
