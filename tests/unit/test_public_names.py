"""Does the root package give what it promises, to Python and to type checkers alike?"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import orchestra

ROOT = Path(orchestra.__file__).parent


def test_names_are_sorted_and_there_once() -> None:
    assert orchestra.__all__ == sorted(set(orchestra.__all__))


@pytest.mark.parametrize("name", orchestra.__all__)
def test_every_public_name_can_be_imported_and_is_documented(name: str) -> None:
    assert getattr(orchestra, name).__doc__


def test_type_checkers_see_the_names_where_python_finds_them() -> None:
    shown = {
        (alias.asname or alias.name, node.module)
        for node in ast.walk(ast.parse((ROOT / "__init__.py").read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("orchestra")
        for alias in node.names
    }

    assert shown == set(orchestra._HOME_OF.items())
    assert {name for name, _ in shown} == set(orchestra.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        orchestra.Nonsense  # noqa: B018  # type: ignore[attr-defined]


def test_dir_shows_every_public_name() -> None:
    assert set(orchestra.__all__) <= set(dir(orchestra))


def test_importing_the_root_loads_nothing_else() -> None:
    script = (
        "import orchestra, sys; print([name for name in sys.modules if name.startswith(('orchestra.', 'pydantic'))])"
    )

    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert output.strip() == "[]"


def test_no_module_of_the_package_imports_the_root() -> None:
    root_import = re.compile(r"^\s*(from orchestra import|import orchestra\s*$)", re.MULTILINE)

    assert [str(path) for path in ROOT.rglob("*.py") if root_import.search(path.read_text())] == []


def test_every_module_says_which_question_it_answers() -> None:
    silent = [
        str(path)
        for path in ROOT.rglob("*.py")
        if path.name != "__main__.py" and not ast.get_docstring(ast.parse(path.read_text()))
    ]

    assert silent == []


def test_the_services_use_public_names_only() -> None:
    modules = {
        node.module
        for path in (ROOT.parent / "services").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("orchestra")
    }

    assert [module for module in modules if module != "orchestra" and not module.startswith("orchestra.testing")] == []
