"""Is what the README shows what the code says?"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOWN = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
SOURCES = [path.read_text() for path in (ROOT / "services" / "food_delivery").glob("*.py")]


@pytest.mark.parametrize("snippet", SHOWN)
def test_every_python_snippet_of_the_readme_stands_in_a_service(snippet: str) -> None:
    assert any(snippet.rstrip() in source for source in SOURCES), f"not found in services/food_delivery:\n{snippet}"


def test_every_path_that_the_readme_links_to_exists() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / "README.md").read_text())

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
