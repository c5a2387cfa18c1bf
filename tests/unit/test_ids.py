"""Ids: derived ones are the same everywhere, new ones are in the order of time."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from orchestra.ids import _NAMESPACE, derived_id, new_id


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.integers(), min_size=1))
def test_a_derived_id_is_the_uuid_5_of_its_parts(parts: list[str | int]) -> None:
    assert derived_id(*parts) == str(uuid.uuid5(_NAMESPACE, "\x1f".join(map(str, parts))))


def test_parts_are_told_apart() -> None:
    assert len({derived_id("a", "b"), derived_id("ab"), derived_id("a", "b", ""), derived_id("b", "a")}) == 4


def test_a_derived_id_never_changes() -> None:
    """It is stored in ledgers and logs: another form of it would have effects twice."""
    assert derived_id("food-order/1/0/reserve/action/0", 1) == "44167316-a892-5a70-9185-422727976219"


def test_new_ids_are_uuid_7() -> None:
    ids = [new_id() for _ in range(50)]

    assert len(set(ids)) == 50
    assert {uuid.UUID(one).version for one in ids} == {7}
    assert [one[:8] for one in ids] == sorted(one[:8] for one in ids)
