import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Never

import pytest
from pydantic import BaseModel, Field

from orchestra.errors import DefinitionError
from orchestra.events.message import Command, Done, Event, Key, Undo
from orchestra.events.schema import export, files, message_types, outdated, schema_of


class Item(BaseModel):
    sku: str


class Reserved(Event, type="shop.reserved.v1"):
    """The items are put aside."""

    order_id: Key[str] = Field(alias="orderId")


class Reserve(Command[Reserved, Never], type="shop.reserve.v1", topic="shop.commands"):
    order_id: Key[str]
    items: list[Item]


class Abstract(Event, abstract=True):
    pass


def module(name: str = __name__, **content: object) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(content)
    return made


SHOP = module(Reserved=Reserved, Reserve=Reserve, Abstract=Abstract, Done=Done, Item=Item, json=json, Again=Reserve)


def test_a_modules_messages_are_those_it_defines() -> None:
    assert message_types(SHOP) == {"shop.reserve.v1": Reserve, "shop.reserved.v1": Reserved}


def test_a_package_has_the_messages_of_its_modules() -> None:
    package = module(__name__.rpartition(".")[0] or __name__, Reserve=Reserve)
    assert message_types(package) == {"shop.reserve.v1": Reserve}


def test_an_undo_that_a_module_names_is_one_of_its_messages() -> None:
    assert list(message_types(module(UndoReserve=Undo[Reserve]))) == ["shop.reserve.v1.undo"]


def test_two_classes_of_one_type_are_a_definition_error() -> None:
    class Other(Event, type="shop.reserved.v1"):
        pass

    with pytest.raises(DefinitionError, match=r"Other.*Reserved has the same type"):
        message_types(module(Reserved=Reserved, Other=Other))


def test_schema_describes_data_and_what_else_a_writer_must_know() -> None:
    schema = schema_of(Reserve)

    assert schema["$id"] == "urn:orchestra:schema:shop.reserve.v1"
    assert schema["required"] == ["order_id", "items"]
    assert schema["properties"]["order_id"] == {"minLength": 1, "title": "Order Id", "type": "string"}
    assert schema["x-orchestra"] == {
        "topic": "shop.commands",
        "key": "order_id",
        "replies": ["shop.reserved.v1"],
        "rejections": [],
    }


def test_schema_names_the_key_as_it_travels() -> None:
    assert schema_of(Reserved)["x-orchestra"] == {"topic": None, "key": "orderId"}


def test_schema_of_an_undo_shows_how_a_reply_travels() -> None:
    reply = json.dumps(schema_of(Undo[Reserve])["properties"]["reply"])
    assert '"const": "shop.reserved.v1"' in reply
    assert '"data"' in reply


def test_message_without_json_schema_is_a_definition_error() -> None:
    class Odd(Event, type="shop.odd.v1"):
        call: Callable[[], None]

    with pytest.raises(DefinitionError, match=r"Odd: it has no JSON Schema"):
        schema_of(Odd)


def test_files_are_the_same_text_each_time() -> None:
    assert files([SHOP]) == files([SHOP])
    assert list(files([SHOP])) == ["shop.reserve.v1.schema.json", "shop.reserved.v1.schema.json"]
    for text in files([SHOP]).values():
        assert text.endswith("}\n")
        assert json.loads(text)["$schema"]


def test_type_with_a_slash_cannot_leave_the_directory() -> None:
    class Nested(Event, type="../a/b"):
        pass

    assert list(files([module(Nested=Nested)])) == ["..%2Fa%2Fb.schema.json"]


def test_export_writes_what_is_missing_and_then_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "schemas"

    written = export([SHOP], directory)

    assert sorted(path.name for path in written) == ["shop.reserve.v1.schema.json", "shop.reserved.v1.schema.json"]
    assert export([SHOP], directory) == []
    assert outdated([SHOP], directory) == []


def test_check_names_missing_different_and_unclaimed_files(tmp_path: Path) -> None:
    export([SHOP], tmp_path)
    (tmp_path / "shop.reserve.v1.schema.json").unlink()
    (tmp_path / "shop.reserved.v1.schema.json").write_text("{}")
    (tmp_path / "shop.gone.v1.schema.json").write_text("{}")
    (tmp_path / "README.md").write_text("not ours")

    found = outdated([SHOP], tmp_path)

    assert [(stale.path.name, stale.problem) for stale in found] == [
        ("shop.reserve.v1.schema.json", "missing"),
        ("shop.reserved.v1.schema.json", "different"),
        ("shop.gone.v1.schema.json", "unclaimed"),
    ]
    assert str(found[0]).endswith("shop.reserve.v1.schema.json: missing")


def test_export_mends_what_differs_and_deletes_nothing(tmp_path: Path) -> None:
    (tmp_path / "shop.reserved.v1.schema.json").write_bytes(b"\xff")
    (tmp_path / "shop.gone.v1.schema.json").write_text("{}")

    export([SHOP], tmp_path)

    assert [stale.problem for stale in outdated([SHOP], tmp_path)] == ["unclaimed"]


def test_check_of_a_directory_that_is_not_there_finds_all_missing(tmp_path: Path) -> None:
    assert {stale.problem for stale in outdated([SHOP], tmp_path / "none")} == {"missing"}
