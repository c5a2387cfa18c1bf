from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Never, NewType, Optional

import pytest
from pydantic import Field

from orchestra.errors import DefinitionError
from orchestra.events.message import Command, Done, Event, Key, Message, spec_of


class Reply(Event, type="test.reply.v1"):
    pass


class SameType(Event, type="test.reply.v1"):
    pass


class Shared(Event, abstract=True):
    pass


class Colour(StrEnum):
    RED = "red"


OrderId = NewType("OrderId", str)


def _missing_type() -> None:
    class Bad(Event):
        pass


def _empty_type() -> None:
    class Bad(Event, type=""):
        pass


def _type_with_space() -> None:
    class Bad(Event, type="order placed"):
        pass


def _type_with_newline() -> None:
    class Bad(Event, type="order.placed\n"):
        pass


def _type_of_ours() -> None:
    class Bad(Event, type="orchestra.mine.v1"):
        pass


def _topic_with_slash() -> None:
    class Bad(Event, type="t", topic="a/b"):
        pass


def _topic_of_dots() -> None:
    class Bad(Event, type="t", topic=".."):
        pass


def _two_keys() -> None:
    class Bad(Event, type="t"):
        a: Key[str]
        b: Key[int]


def _key_of_a_float() -> None:
    class Bad(Event, type="t"):
        a: Key[float]  # type: ignore[type-var]


def _key_of_a_bool() -> None:
    class Bad(Event, type="t"):
        a: Key[bool]


def _key_of_an_enum() -> None:
    class Bad(Event, type="t"):
        a: Key[Colour]


def _optional_key() -> None:
    class Bad(Event, type="t"):
        a: Optional[Key[str]] = None  # noqa: UP045


def _key_or_none() -> None:
    class Bad(Event, type="t"):
        a: Key[str] | None = None


def _key_in_a_list() -> None:
    class Bad(Event, type="t"):
        a: list[Key[str]]


def _command_without_topic() -> None:
    class Bad(Command[Reply, Never], type="t"):
        a: Key[str]


def _command_without_key() -> None:
    class Bad(Command[Reply, Never], type="t", topic="x"):
        a: str


def _command_without_type() -> None:
    class Bad(Command[Reply, Never], topic="x"):
        a: Key[str]


def _command_without_parameters() -> None:
    class Bad(Command, type="t", topic="x"):  # type: ignore[type-arg]
        a: Key[str]


def _command_with_one_parameter() -> None:
    class Bad(Command[Reply], type="t", topic="x"):  # type: ignore[type-arg]
        a: Key[str]


def _command_without_reply() -> None:
    class Bad(Command[Never, Reply], type="t", topic="x"):
        a: Key[str]


def _reply_is_rejection() -> None:
    class Bad(Command[Reply, Reply], type="t", topic="x"):
        a: Key[str]


def _reply_and_rejection_of_one_type() -> None:
    class Bad(Command[Reply, SameType], type="t", topic="x"):
        a: Key[str]


def _two_replies_of_one_type() -> None:
    class Bad(Command[Reply | SameType, Never], type="t", topic="x"):
        a: Key[str]


def _reply_is_no_event() -> None:
    class Bad(Command[str, Never], type="t", topic="x"):  # type: ignore[type-var]
        a: Key[str]


def _reply_is_a_command() -> None:
    class First(Command[Reply, Never], type="t", topic="x"):
        a: Key[str]

    class Bad(Command[First, Never], type="u", topic="x"):  # type: ignore[type-var]
        a: Key[str]


def _reply_by_name() -> None:
    class Bad(Command["Reply", Never], type="t", topic="x"):
        a: Key[str]


def _rejection_is_none() -> None:
    class Bad(Command[Reply, None], type="t", topic="x"):  # type: ignore[type-var]
        a: Key[str]


def _reply_is_abstract() -> None:
    class Bad(Command[Shared, Never], type="t", topic="x"):
        a: Key[str]


def _neither_event_nor_command() -> None:
    class Bad(Message, type="t"):
        pass


def _both_event_and_command() -> None:
    class Bad(Event, Command[Reply, Never], type="t", topic="x"):
        a: Key[str]


def _mutable() -> None:
    class Bad(Event, type="t", frozen=False):
        pass


def _field_hides_json() -> None:
    class Bad(Event, type="t"):
        json: str  # type: ignore[assignment]


def _field_hides_copy() -> None:
    class Bad(Event, type="t"):
        copy: int  # type: ignore[assignment]


MISTAKES: list[tuple[Callable[[], None], str, str]] = [
    (_missing_type, "the CloudEvents type is missing", 'add type="'),
    (_empty_type, "'' is not a CloudEvents type", "visible ASCII"),
    (_type_with_space, "'order placed' is not a CloudEvents type", "visible ASCII"),
    (_type_with_newline, "is not a CloudEvents type", "visible ASCII"),
    (_type_of_ours, "orchestra.* is orchestra's own", "begin it with a name of yours"),
    (_topic_with_slash, "'a/b' is not a name of a Kafka topic", "249"),
    (_topic_of_dots, "'..' is not a name of a Kafka topic", "249"),
    (_two_keys, "two keys, a and b", "mark one field"),
    (_key_of_a_float, "key a is a float", "Key[str] or Key[int]"),
    (_key_of_a_bool, "key a is a bool", "Key[str] or Key[int]"),
    (_key_of_an_enum, "key a is a Colour", "Key[str] or Key[int]"),
    (_optional_key, "key a is inside another type", "always there"),
    (_key_or_none, "key a is inside another type", "always there"),
    (_key_in_a_list, "key a is inside another type", "always there"),
    (_command_without_topic, "a command needs a topic", 'add topic="'),
    (_command_without_key, "a command needs a key", "order_id: Key[str]"),
    (_command_without_type, "the CloudEvents type is missing", 'add type="'),
    (_command_without_parameters, "does not say how it is answered", "Command[Reply, Rejection]"),
    (_command_with_one_parameter, "takes two parameters", "Command[Reply, Rejection]"),
    (_command_without_reply, "it has no reply", "Command[Done, ...]"),
    (_reply_is_rejection, "Reply is its reply and its rejection", "different types"),
    (_reply_and_rejection_of_one_type, "Reply and SameType", "different types"),
    (_two_replies_of_one_type, "Reply and SameType", "different types"),
    (_reply_is_no_event, "its reply str is not an Event", "define it as an Event"),
    (_reply_is_a_command, "First is not an Event", "define it as an Event"),
    (_reply_by_name, "its reply 'Reply' is not an Event", "before the command"),
    (_rejection_is_none, "its rejection may not be None", "write Never"),
    (_reply_is_abstract, "its reply Shared is abstract", "name an Event that has a type"),
    (_neither_event_nor_command, "neither an event nor a command", "subclass Event, or Command"),
    (_both_event_and_command, "both an event and a command", "subclass Event, or Command"),
    (_mutable, "cannot be changed once it is made", "remove frozen=False"),
    (_field_hides_json, "field json would hide a method", 'json_: ... = Field(alias="json")'),
    (_field_hides_copy, "field copy would hide a method", 'copy_: ... = Field(alias="copy")'),
]


@pytest.mark.parametrize(("declare", "what", "remedy"), MISTAKES, ids=[f.__name__.strip("_") for f, _, _ in MISTAKES])
def test_mistake_is_a_definition_error_that_names_class_and_remedy(
    declare: Callable[[], None], what: str, remedy: str
) -> None:
    with pytest.raises(DefinitionError) as caught:
        declare()

    text = str(caught.value)
    assert "<locals>.Bad" in text
    assert what in text
    assert remedy in text


def test_key_may_be_a_newtype_and_may_have_constraints() -> None:
    class Placed(Event, type="test.placed.v1"):
        order_id: Key[OrderId]

    class Moved(Event, type="test.moved.v1"):
        order_id: Key[Annotated[str, Field(pattern="[a-z]+")]]

    class Shifted(Event, type="test.shifted.v1"):
        order_id: Key[str] = Field(max_length=3)

    assert {spec_of(cls).key_field for cls in (Placed, Moved, Shifted)} == {"order_id"}
    for cls in (Placed, Moved, Shifted):
        with pytest.raises(ValueError, match="at least 1 character"):
            cls.model_validate({"order_id": ""})


def test_pydantics_own_class_keywords_pass_through() -> None:
    class Strict(Event, type="test.strict.v1", title="A title", strict=True):
        n: int

    assert Strict.model_config.get("title") == "A title"
    with pytest.raises(ValueError, match="valid integer"):
        Strict.model_validate({"n": "1"})


def test_definition_of_any_command_stands_for_the_class() -> None:
    assert Command[Any, Any] is Command
    assert issubclass(Done, Event)
