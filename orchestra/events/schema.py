"""What does each message look like to those who do not read Python? JSON Schema, in files that are kept in git.

``export`` writes ``<type>.schema.json`` for every message of a module, and ``outdated`` says which files no longer
agree with the code. Files, nothing else: no network, no clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal
from urllib.parse import quote

from pydantic import PydanticUserError

from orchestra.events.declaration import mistake
from orchestra.events.message import Message, spec_of

_SUFFIX = ".schema.json"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def message_types(*modules: ModuleType) -> dict[str, type[Message]]:
    """CloudEvents type -> the message class of that type, for all that these modules (or packages) define.

    Raises:
        DefinitionError: two classes have the same type.
    """
    found: dict[str, type[Message]] = {}
    for module in modules:
        for thing in vars(module).values():
            if not _is_defined_in(module, thing) or thing.__orchestra_spec__.is_abstract:
                continue
            other = found.setdefault(spec_of(thing).type, thing)
            if other is not thing:
                raise mistake(thing, f"{other.__module__}.{other.__qualname__} has the same type", "change one of them")
    return dict(sorted(found.items()))


def schema_of(cls: type[Message]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a message's data. ``x-orchestra`` adds its topic, key and answers.

    Raises:
        DefinitionError: a field has no JSON form.
    """
    spec = spec_of(cls)
    try:
        schema = cls.model_json_schema()
    except PydanticUserError as error:
        raise mistake(cls, f"it has no JSON Schema: {error.message}", "use types that JSON can express") from error
    facts: dict[str, object] = {"topic": spec.topic, "key": _wire_name(cls, spec.key_field)}
    if spec.is_command:
        facts["replies"] = [spec_of(answer).type for answer in spec.replies]
        facts["rejections"] = [spec_of(answer).type for answer in spec.rejections]
    return {"$schema": _DIALECT, "$id": f"urn:orchestra:schema:{quote(spec.type)}"} | schema | {"x-orchestra": facts}


def files(modules: Iterable[ModuleType]) -> dict[str, str]:
    """File name -> text, for every message of the modules. The same text on every machine."""
    return {
        f"{quote(name, safe='')}{_SUFFIX}": json.dumps(schema_of(cls), indent=2, sort_keys=True, ensure_ascii=False)
        + "\n"
        for name, cls in message_types(*modules).items()
    }


def export(modules: Iterable[ModuleType], directory: Path) -> list[Path]:
    """Writes the files that are missing or differ, and gives their paths. Repeating it changes nothing."""
    directory.mkdir(parents=True, exist_ok=True)
    wanted = files(modules)
    written: list[Path] = []
    for stale in _compare(wanted, directory):
        if stale.problem != "unclaimed":
            stale.path.write_text(wanted[stale.path.name], encoding="utf-8")
            written.append(stale.path)
    return written


@dataclass(frozen=True, slots=True)
class Outdated:
    """A file that does not agree with the code. ``unclaimed``: none of the modules defines that type."""

    path: Path
    problem: Literal["missing", "different", "unclaimed"]

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


def outdated(modules: Iterable[ModuleType], directory: Path) -> list[Outdated]:
    """What ``export`` would write, and the files that no message claims; empty when all is well."""
    return _compare(files(modules), directory)


def _compare(wanted: Mapping[str, str], directory: Path) -> list[Outdated]:
    present = {path.name: path for path in directory.glob(f"*{_SUFFIX}")}
    found: list[Outdated] = []
    for name, text in wanted.items():
        if name not in present:
            found.append(Outdated(directory / name, "missing"))
        elif present[name].read_bytes() != text.encode():
            found.append(Outdated(present[name], "different"))
    found.extend(Outdated(path, "unclaimed") for name, path in sorted(present.items()) if name not in wanted)
    return found


def _is_defined_in(module: ModuleType, thing: object) -> bool:
    if not (isinstance(thing, type) and issubclass(thing, Message)):
        return False
    return f"{thing.__module__}.".startswith(f"{module.__name__}.")


def _wire_name(cls: type[Message], field: str | None) -> str | None:
    return field and (cls.model_fields[field].serialization_alias or field)
