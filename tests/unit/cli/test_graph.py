"""Is a flow drawn from the command line?"""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from orchestra.cli.main import app

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
