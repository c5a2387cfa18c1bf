"""Is a valid message made of nothing but its class, the same each time?"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field

from orchestra import Event, Key
from orchestra.errors import DefinitionError
from orchestra.flows.check.samples import NoSampleError, sample, sample_of


class Line(BaseModel):
    sku: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    count: Annotated[int, Field(gt=4, lt=9, multiple_of=4)]
    share: Annotated[float, Field(gt=0, lt=0.5)]


class Everything(Event, type="samples.everything.v1"):
    order_id: Key[str]
    price: Decimal
    at: datetime
    takes: timedelta
    uuid: UUID
    lines: list[Line]
    first: Line | None
    kind: Literal["a", "b"]
    by_name: dict[str, int]
    pair: tuple[int, str]
    raw: bytes
    short: Annotated[str, Field(max_length=3)]
    long: Annotated[str, Field(min_length=20)]
    said: str = Field(examples=["so"], pattern="so")
    left: str = "out"


class Numbered(Event, type="samples.numbered.v1"):
    number: Key[int]
    name: str


class Shown(Event, type="samples.shown.v1", json_schema_extra={"examples": [{"code": "Q7"}]}):
    code: Annotated[str, Field(pattern="^Q[0-9]$")]


class Odd(Event, type="samples.odd.v1"):
    code: Annotated[str, Field(pattern="^Q[0-9]$")]


class Tree(BaseModel):
    left: Tree | None
    leaves: list[Tree]


def test_every_kind_of_field_has_a_sample() -> None:
    made = sample(Everything)

    assert made == sample(Everything)
    assert (made.order_id, made.kind, made.said, made.left) == ("key-1", "a", "so", "out")
    assert made.lines == [made.first] == [Line(sku="AAA", count=8, share=0.25)]
    assert made.pair == (1, "pair-1")


def test_keys_agree_and_texts_are_named_after_their_fields() -> None:
    assert sample(Numbered) == Numbered(number=1, name="name-1")


def test_an_example_of_the_class_wins() -> None:
    assert sample(Shown).code == "Q7"


def test_what_cannot_be_guessed_is_named_with_the_remedy() -> None:
    with pytest.raises(NoSampleError, match=r"Odd\.code: no text can be guessed .* Field\(examples=\[\.\.\.\]\)"):
        sample(Odd)
    assert issubclass(NoSampleError, DefinitionError)


def test_what_holds_itself_ends_somewhere() -> None:
    assert isinstance(sample_of(Tree, "tree"), Tree)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, 1),
        (Annotated[int, Field(ge=7)], 7),
        (Annotated[int, Field(le=-3)], -3),
        (Annotated[int, Field(gt=1, multiple_of=10)], 10),
        (Annotated[float, Field(gt=0, lt=1)], 0.5),
        (bool, False),
        (str | None, "value-1"),
        (Any, None),
    ],
)
def test_a_sample_is_the_simplest_value_that_is_allowed(annotation: Any, value: object) -> None:
    assert sample_of(annotation, "here") == value
