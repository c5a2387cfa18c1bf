"""Is what ``module:name`` names found, and a mistake answered with what would be right?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

from orchestra.cli.target import load, load_module
from orchestra.errors import DefinitionError


def is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of an operator, in the working directory."""
    folder = tmp_path / "corner_shop"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "one.py").write_text("only = 1\nsame = only\nname = 'shop'\n")
    (folder / "two.py").write_text("first = 1\nsecond = 2\n")
    (folder / "broken.py").write_text("x = 1\ny = x / 0\n")
    (folder / "lacking.py").write_text("import no_such_package_at_all\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    yield folder
    for name in [name for name in sys.modules if name.startswith("corner_shop")]:
        del sys.modules[name]


@pytest.mark.usefixtures("shop")
class TestLoad:
    def test_finds_a_name_in_the_working_directory(self) -> None:
        assert load("corner_shop.two:second", is_number, "a number") == 2

    def test_a_name_may_be_left_out_where_there_is_only_one(self) -> None:
        assert load("corner_shop.one", is_number, "a number") == 1

    def test_where_there_are_several_they_are_named(self) -> None:
        with pytest.raises(DefinitionError, match=r"say which.*corner_shop.two:first, corner_shop.two:second"):
            load("corner_shop.two", is_number, "a number")

    def test_a_name_that_is_not_there_is_answered_with_those_that_are(self) -> None:
        with pytest.raises(DefinitionError, match=r"has no 'third'\. There is: corner_shop.two:first"):
            load("corner_shop.two:third", is_number, "a number")

    def test_a_thing_of_the_wrong_kind_is_refused(self) -> None:
        with pytest.raises(
            DefinitionError, match=r"corner_shop.one:name is not a number\. There is: corner_shop.one:only"
        ):
            load("corner_shop.one:name", is_number, "a number")

    def test_a_module_that_holds_nothing_of_the_kind_says_so(self) -> None:
        with pytest.raises(DefinitionError, match="does not hold a number"):
            load("corner_shop", is_number, "a number")

    def test_a_missing_module_is_named(self) -> None:
        with pytest.raises(DefinitionError, match=r"no module 'corner_shop\.three'"):
            load_module("corner_shop.three")

    def test_a_module_that_breaks_is_told_with_file_and_line(self) -> None:
        with pytest.raises(DefinitionError, match=r"ZeroDivisionError.*corner_shop/broken\.py:2"):
            load_module("corner_shop.broken")

    def test_a_package_that_the_module_lacks_is_not_taken_for_the_module(self) -> None:
        with pytest.raises(DefinitionError, match="No module named 'no_such_package_at_all'"):
            load_module("corner_shop.lacking")

    def test_an_empty_module_name_is_refused(self) -> None:
        with pytest.raises(DefinitionError, match="write module:name"):
            load(":app", is_number, "a number")
