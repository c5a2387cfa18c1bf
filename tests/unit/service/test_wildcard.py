"""Patterns: ``*`` stands for any text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.service.wildcard import matcher


@pytest.mark.parametrize(
    ("pattern", "text", "is_match"),
    [
        ("shop.order.*", "shop.order.placed.v1", True),
        ("shop.order.*", "shop.order.", True),
        ("shop.order.*", "shop.order", False),
        ("*.v1", "shop.order.placed.v1", True),
        ("*", "", True),
        ("shop.*.v1", "shop.v1", False),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "acb", False),
        ("aa*aa", "aaa", False),
        ("a.b", "axb", False),
        ("exact", "exact", True),
        ("exact", "exactly", False),
    ],
)
def test_star_stands_for_any_text_and_everything_else_for_itself(pattern: str, text: str, is_match: bool) -> None:
    assert matcher(pattern)(text) is is_match


@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
def test_it_agrees_with_the_regular_expression(pattern: str, text: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None

    assert matcher(pattern)(text) is expected


def test_many_stars_on_a_long_text_take_no_time() -> None:
    assert not matcher("*a" * 30 + "b")("a" * 20_000)
