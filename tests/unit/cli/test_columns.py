"""Are rows aligned, and is nothing let through that moves a cursor?"""

from __future__ import annotations

import pytest

from orchestra.cli.columns import one_line, show_columns


def test_columns_are_as_wide_as_their_widest_cell(capsys: pytest.CaptureFixture[str]) -> None:
    show_columns(("topic", "n"), [("food.inbox", 8), ("a", None)])

    assert capsys.readouterr().out.splitlines() == ["topic       n", "food.inbox  8", "a"]


def test_a_cell_is_one_line_whatever_it_holds() -> None:
    assert one_line("a\nb\x1b[31mc\u202ed") == "a b [31mc d"


def test_a_long_cell_is_cut_with_a_sign() -> None:
    assert one_line("abcdef", 4) == "abc…"
