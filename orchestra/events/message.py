"""What does a message class say about itself, and how does its data become bytes?

A message is an immutable pydantic model. Its class keywords name the CloudEvents type and the default topic; its key
field names the record's key. Readers are tolerant: unknown fields of the data are ignored.
"""

from __future__ import annotations

from functools import cache
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, Never, TypeVar, Unpack

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    PydanticUserError,
    SerializeAsAny,
    ValidationError,
    create_model,
)
from pydantic.errors import PydanticUndefinedAnnotation
from pydantic_core import CoreSchema, PydanticSerializationError, core_schema, from_json

from orchestra.errors import DecodeError, DefinitionError, EncodeError
from orchestra.events.declaration import ABSTRACT, Declared, MessageSpec, declare, hidden_names, mistake
from orchestra.events.key import Key

__all__ = [
    "MAX_DATA_BYTES",
    "Command",
    "Done",
    "Event",
    "Key",
    "Message",
    "MessageSpec",
    "StepFailed",
    "StepRefused",
    "Undo",
    "decode_data",
    "encode_data",
    "record_key",
    "spec_of",
]

_N, _I = b"NI"
MAX_DATA_BYTES = 16 * 1024 * 1024
"""Larger data is refused before it is parsed."""


def _declared(cls: type[Message], type_: str | None, topic: str | None, abstract: bool) -> Declared:
    # Event and Command are not there yet while they are being made themselves.
    known = globals()
    return Declared(cls, type_, topic, abstract, known.get("Event"), known.get("Command"), known.get("Undo"))


class Message(BaseModel):
    """Base of :class:`Event` and :class:`Command`; users subclass those."""

    # allow_inf_nan: JSON has no NaN, and pydantic would write it as null. Aliases: a field that would hide a method of
    # pydantic (json, copy, schema) takes another name, and the alias is what travels.
    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        serialize_by_alias=True,
        ser_json_bytes="base64",
        val_json_bytes="base64",
    )

    # The one attribute that orchestra adds: any plainer name could meet a field of the user's.
    __orchestra_spec__: ClassVar[MessageSpec] = ABSTRACT

    def __init_subclass__(
        cls,
        *,
        type: str | None = None,  # noqa: A002
        topic: str | None = None,
        abstract: bool = False,
        **config: Unpack[ConfigDict],
    ) -> None:
        """Class keywords.

        Args:
            type: the CloudEvents type, such as ``shop.order.placed.v1``.
            topic: the default topic; inherited. A command needs one, a reply does not.
            abstract: True for a class that only shares fields and is never sent.
            config: pydantic's own, such as ``title``.
        """
        super().__init_subclass__(**config)
        if hidden := hidden_names(cls):
            raise mistake(
                cls,
                f"field {hidden[0]} would hide a method of pydantic",
                f'write {hidden[0]}_: ... = Field(alias="{hidden[0]}")',
            )

    @classmethod
    def __pydantic_init_subclass__(
        cls,
        *,
        type: str | None = None,  # noqa: A002
        topic: str | None = None,
        abstract: bool = False,
        **_: Any,
    ) -> None:
        # Fields are known here, and not yet in __init_subclass__. Runs for parametrised generics too.
        cls.__orchestra_spec__ = declare(_declared(cls, type, topic, abstract))


class Event(Message, abstract=True):
    """Something that happened: ``class OrderPlaced(Event, type="shop.order.placed.v1", topic="shop.orders")``.

    Raises:
        DefinitionError: at class creation, where the declaration cannot work; names the class and the remedy.
    """


R_co = TypeVar("R_co", bound=Event, covariant=True)
J_co = TypeVar("J_co", bound=Event, covariant=True)

if TYPE_CHECKING:

    class _Answers(Generic[R_co, J_co]): ...
else:

    class _Answers:
        # No generic to pydantic: Command[X, Y] is an alias that only __orig_bases__ remembers, not one more model.
        def __class_getitem__(cls, answers):
            return cls if answers == (Any, Any) else GenericAlias(cls, answers)


class Command(_Answers[R_co, J_co], Message, abstract=True):
    """Asks one service to do something: ``class Reserve(Command[Reserved, OutOfStock], type=..., topic=...)``.

    The parameters are its reply (done) and its rejection (proven not done); unions of events where there are several;
    ``Command[Released, Never]`` cannot be rejected. A command has a topic and a key.

    Raises:
        DefinitionError: at class creation, where the declaration cannot work; names the class and the remedy.
    """


C_co = TypeVar("C_co", bound=Command[Any, Any], covariant=True)
C = TypeVar("C", bound=Command[Any, Any])
M = TypeVar("M", bound=Message)


class Done(Event, type="orchestra.done.v1"):
    """The built-in empty reply."""


class StepFailed(Event, type="orchestra.step.failed.v1"):
    """The runtime's answer for a command that was dead-lettered: whether it was done is unknown; wait no longer."""

    dead_letter_id: str
    reason: str
    error: str = ""


class StepRefused(Event, type="orchestra.step.refused.v1"):
    """The runtime's answer for a command that it did not begin and never will: proven not done."""

    reason: Literal["expired", "barred", "exists"]
    """``expired``: it came too late; ``barred``: its compensation came first; ``exists``: for a start of a flow, the
    instance is somebody else's."""
    note: str = ""


class StepCancel(Event, type="orchestra.step.cancel.v1"):
    """What a flow sends behind a command whose outcome it needs no longer: whoever has not begun it need not. It goes
    the command's way, with the same effect id. A service with a ledger that has not begun it never will, and answers
    :class:`StepRefused`; anybody else may pass it by, for the command is still answered."""

    command: str
    """The command's CloudEvents type."""


class FlowFailed(Event, type="orchestra.flow.failed.v1"):
    """What a flow that was called answers when it was undone: nothing of it is left, so it is proven not done."""

    step: str | None
    """The step that failed first; None where somebody cancelled, or time was up."""
    cause: str
    reason: str


if TYPE_CHECKING:

    class _Undoes(Generic[C_co]): ...
else:

    class _Undoes:
        def __class_getitem__(cls, command):
            if cls is _Undoes:
                return cls
            return GenericAlias(cls, command) if isinstance(command, TypeVar) else _undo_class(command)


class Undo(_Undoes[C_co], Command[Done, Never], abstract=True):
    """The built-in compensation: ``Undo[Reserve]`` has the type ``<type of Reserve>.undo``, and Reserve's topic.

    In JSON, ``reply`` is ``{"type": <CloudEvents type>, "data": {...}}``, or null.
    """

    key: Key[str]
    """The record key of the action, so that its undo cannot overtake it."""
    effect_id: str
    """Of the action that is to be undone."""
    command: C_co
    """The action, as it was sent."""
    reply: SerializeAsAny[Event] | None = None
    """What the action was answered; None where nobody knows whether it was done."""

    @classmethod
    def of(cls, command: C, *, effect_id: str, reply: Event | None = None) -> Undo[C]:
        """The undo of a command that was sent under ``effect_id``."""
        undo: type[Undo[C]] = _undo_class(type(command))
        return undo(key=(record_key(command) or b"").decode(), effect_id=effect_id, command=command, reply=reply)

    def __reduce__(self) -> tuple[Any, ...]:
        # Undo[X] is no attribute of any module: pickle could not find it by its name.
        return _blank_undo, (type(self.command),), self.__getstate__()


class _AnswerForm:
    """How an answer travels inside an undo: with its type beside it, as two answers may look alike."""

    def __init__(self, answers: tuple[type[Event], ...]) -> None:
        self.answers = answers

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        forms = {spec_of(answer).type: self._form(answer, handler) for answer in self.answers}
        tagged = core_schema.tagged_union_schema(forms, discriminator="type")
        given = core_schema.is_instance_schema(self.answers, cls_repr=" | ".join(c.__name__ for c in self.answers))
        return core_schema.json_or_python_schema(
            json_schema=tagged,
            python_schema=core_schema.union_schema([given, tagged]),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda answer: {"type": spec_of(type(answer)).type, "data": answer}
            ),
        )

    @staticmethod
    def _form(answer: type[Event], handler: GetCoreSchemaHandler) -> CoreSchema:
        fields = {
            "type": core_schema.typed_dict_field(core_schema.literal_schema([spec_of(answer).type])),
            "data": core_schema.typed_dict_field(handler.generate_schema(answer)),
        }
        return core_schema.no_info_after_validator_function(
            lambda form: form["data"], core_schema.typed_dict_schema(fields)
        )


@cache
def _undo_class(command: Any) -> Any:
    if not (isinstance(command, type) and issubclass(command, Command)) or issubclass(command, Undo):
        name = getattr(command, "__qualname__", repr(command))
        raise DefinitionError(f"Undo[{name}]: {name} is not a command; write Undo[<the command that it undoes>]")
    spec = spec_of(command)
    answer: Any = Annotated[Any, _AnswerForm(spec.replies)]
    reply: Any = answer | None
    return create_model(
        f"Undo[{command.__qualname__}]",
        __base__=Undo,
        __module__=command.__module__,
        __doc__=f"Undo {command.__name__}.",
        __cls_kwargs__={"type": f"{spec.type}.undo", "topic": spec.topic},
        command=(command, ...),
        reply=(reply, None),
    )


def _blank_undo(command: type[Command[Any, Any]]) -> Any:
    cls = _undo_class(command)
    return cls.__new__(cls)


def spec_of(cls: type[Message]) -> MessageSpec:
    """What a message class declares.

    Raises:
        DefinitionError: the class is abstract, or a field names a type that does not exist.
    """
    known = _specs.get(cls)
    if known is not None:
        return known
    if not cls.__pydantic_complete__:
        _complete(cls)
    spec = cls.__orchestra_spec__
    if spec.is_abstract:
        raise mistake(cls, "it is abstract, and cannot be sent or subscribed to", "name a subclass that has a type")
    _specs[cls] = spec
    return spec


_specs: dict[type[Message], MessageSpec] = {}
"""Of classes that are complete: asked for several times with every message."""


def _complete(cls: type[Message]) -> None:
    """Fields that named a class which was not yet there can be read now."""
    try:
        cls.model_rebuild()
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        raise mistake(
            cls, f"a field names a type that does not exist: {error.message}", "import or define it"
        ) from None
    if not (spec := cls.__orchestra_spec__).is_abstract:
        cls.__orchestra_spec__ = declare(_declared(cls, spec.type, spec.topic, False))


def record_key(message: Message) -> bytes | None:
    """The record's key: the key field as UTF-8 text. None for an event that declares no key.

    Raises:
        EncodeError: the key is empty, or no text that UTF-8 can write.
    """
    field = spec_of(type(message)).key_field
    if field is None:
        return None
    try:
        if key := str(getattr(message, field)).encode():
            return key
    except UnicodeEncodeError:
        pass
    raise EncodeError(f"{type(message).__qualname__}.{field}: {getattr(message, field)!r:.64} cannot be a record's key")


def encode_data(message: Message) -> bytes:
    """The message as JSON.

    Raises:
        EncodeError: a value has no JSON form.
    """
    try:
        return message.__pydantic_serializer__.to_json(message)
    except (PydanticSerializationError, PydanticUserError, ValueError, RecursionError) as error:
        raise EncodeError(f"data: {type(message).__qualname__} has no JSON form: {error}") from error


def decode_data(cls: type[M], raw: bytes | None) -> M:
    """The message that these bytes of JSON hold. Absent data counts as an empty object.

    Raises:
        DecodeError: ``data`` is not JSON, is nested deeper than 200, is too large, or is not of this class.
    """
    if raw is None:
        raw = b"{}"
    elif len(raw) > MAX_DATA_BYTES:
        raise DecodeError("data", f"{len(raw)} bytes, at most {MAX_DATA_BYTES} are read")
    try:
        if may_hold_nan(raw):
            from_json(raw, allow_inf_nan=False)
        # Parsed and validated in one pass outside Python, which stops at 200 levels: no RecursionError.
        message: M = cls.__pydantic_validator__.validate_json(raw)
    except ValidationError as error:
        raise DecodeError("data", _reason(cls, error)) from None
    except ValueError as error:
        raise DecodeError("data", f"is not JSON: {error}") from None
    except PydanticUserError as error:
        raise mistake(cls, "a field names a type that does not exist", "import or define it") from error
    return message


def may_hold_nan(raw: bytes) -> bool:
    """Whether NaN or Infinity may stand there: no JSON, but ``validate_json`` would take them for numbers."""
    return (_N in raw and b"NaN" in raw) or (_I in raw and b"Infinity" in raw)  # to look for one byte costs nothing


def _reason(cls: type[Message], error: ValidationError) -> str:
    """One sentence, without the input: it may be secret, and large. Of very many mistakes, only the number."""
    count = error.error_count()
    if count > 100:
        return f"not a valid {cls.__qualname__}: {count} values are wrong"
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])[:100]
    more = f" (and {count - 1} more)" if count > 1 else ""
    return f"not a valid {cls.__qualname__}: {f'{place}: ' if place else ''}{first['msg'][:200]}{more}"
