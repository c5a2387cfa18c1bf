"""Do the scenarios' pages name what is there, and is every scenario on the first page?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestra.cli.main import app
from services.demo_kit.every import scenarios
from services.demo_kit.pictures import with_pictures

SERVICES = Path(__file__).parents[3] / "services"


@pytest.mark.parametrize("name", scenarios())
def test_a_page_names_files_that_exist_and_every_file_that_there_is(name: str) -> None:
    folder, page = SERVICES / name, (SERVICES / name / "README.md").read_text()

    named = set(re.findall(r"`([\w/]+\.(?:py|csv|jsonl))`", page))

    assert [file for file in sorted(named) if not (folder / file).exists()] == []
    there = {path.name for path in folder.iterdir() if path.suffix in (".py", ".csv", ".jsonl")} - {"__init__.py"}
    assert sorted(there - named) == []


@pytest.mark.parametrize("name", scenarios())
def test_every_scenario_is_on_the_first_page(name: str) -> None:
    assert f"({name}/README.md)" in (SERVICES / "README.md").read_text()


@pytest.mark.parametrize("name", scenarios())
def test_a_page_shows_its_flow_as_it_is(name: str) -> None:
    page = (SERVICES / name / "README.md").read_text()
    assert "<!-- orchestra graph " in page

    def draw(target: str) -> str:
        return CliRunner().invoke(app, ["graph", target], catch_exceptions=False).stdout

    assert page == with_pictures(page, draw), "run: python -m services.demo_kit.pictures"
