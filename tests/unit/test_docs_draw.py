"""Does the page about drawing say what happens?"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from orchestra.cli.main import app

HERE = Path(__file__).parents[2] / "docs" / "how-to"
PAGE = (HERE / "draw.md").read_text()
SVG = "{http://www.w3.org/2000/svg}text"


def test_the_storm_of_the_page_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = re.search(r"```python\n# storm.py\n(.*?)```", PAGE, re.DOTALL)
    told = re.search(r"```\n\$ orchestra graph storm --to storm.svg\n(.*?)```", PAGE, re.DOTALL)
    assert source is not None
    assert told is not None
    (tmp_path / "storm.py").write_text(source[1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    result = CliRunner().invoke(app, ["graph", "storm", "--to", "storm.svg"])

    assert result.output == told[1]


@pytest.mark.parametrize(
    ("target", "picture"),
    [
        ("services.food_delivery.flow:FoodOrder", "food-order.svg"),
        ("services.travel_booking.flow", "trip.svg"),
        ("services/food_delivery", "food-delivery.svg"),
    ],
)
def test_the_pictures_of_the_page_say_what_the_code_says(target: str, picture: str, tmp_path: Path) -> None:
    """Draw them again with ``orchestra graph TARGET --to docs/how-to/pictures/...`` where they do not."""
    CliRunner().invoke(app, ["graph", target, "--to", str(tmp_path / picture)])

    assert _texts(tmp_path / picture) == _texts(HERE / "pictures" / picture)


def _texts(picture: Path) -> list[str]:
    return sorted("".join(text.itertext()) for text in ElementTree.parse(picture).getroot().iter(SVG))
