"""Do the documents name files and tests that exist?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted((ROOT / "docs").rglob("*.md"))


def paths_in(document: Path) -> set[str]:
    return set(re.findall(r"`([\w./*-]+\.(?:py|md))`", document.read_text()))


def exists(path: str) -> bool:
    """From the root, from the package, or (a bare name in a list of neighbours) anywhere in the package."""
    return any(any(ROOT.glob(pattern)) for pattern in (path, f"orchestra/{path}", f"orchestra/**/{path}"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_names_exists(document: Path) -> None:
    assert [path for path in sorted(paths_in(document)) if not exists(path)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_a_document_names_exists(document: Path) -> None:
    files = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "orchestra" / "testing" / "conformance").glob("*.py")]
    tests = "\n".join(path.read_text() for path in files)

    named = re.findall(r"`(test_\w+)`", document.read_text())

    assert [name for name in named if f"def {name}(" not in tests] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_of_a_document_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text())

    assert [link for link in links if not (document.parent / link).exists()] == []


def test_every_layer_of_the_architecture_page_is_in_the_linters_contract() -> None:
    layers = re.search(r"^layers = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    assert layers is not None
    enforced = re.findall(r"[a-z]+", layers[1])

    shown = re.search(r"## Layers(.*?)\n## ", (ROOT / "docs" / "architecture.md").read_text(), re.DOTALL)
    assert shown is not None
    named = [
        name for row in re.findall(r"^\| (`.*?) \|", shown[1], re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    ]

    assert sorted(named) == sorted(enforced)
