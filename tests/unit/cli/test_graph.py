"""Is a flow drawn from the command line?"""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from orchestra.cli.main import app

FLOW = "services.food_delivery.flow:FoodOrder"


def test_a_flow_is_drawn_as_mermaid() -> None:
    result = CliRunner().invoke(app, ["graph", FLOW])

    assert result.exit_code == 0
    assert result.stdout.startswith("flowchart TD\n")
    assert "AssignDriver" in result.stdout


def test_a_markdown_file_gets_a_fenced_block(tmp_path: Path) -> None:
    CliRunner().invoke(app, ["graph", FLOW, "--to", str(tmp_path / "flow.md")])

    text = (tmp_path / "flow.md").read_text()
    assert text.startswith("```mermaid\nflowchart TD\n")
    assert text.endswith("```\n")


def test_what_is_no_flow_is_refused_and_the_flows_are_named() -> None:
    result = CliRunner().invoke(app, ["graph", "services.food_delivery.flow:OrderPlaced"])

    assert result.exit_code == 2
    assert f"There is: {FLOW}." in result.stderr
