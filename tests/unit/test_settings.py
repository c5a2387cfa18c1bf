"""Are settings read, checked, and all in the documentation?"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from typer.main import get_command

from orchestra.cli.main import app
from orchestra.errors import SettingsError
from orchestra.settings import Security, Settings

PAGE = (Path(__file__).parents[2] / "docs" / "running.md").read_text()


def documented() -> dict[str, str]:
    """Variable -> default, as the page's table says."""
    rows = re.findall(r"^\| `(ORCHESTRA_[A-Z_]+)` \|(.*?)\|", PAGE, re.MULTILINE)
    return {name: default.strip().strip("`") for name, default in rows}


def defined(model: type[BaseModel], prefix: str) -> dict[str, str]:
    return {
        f"{prefix}{name.upper()}": _text(field.get_default(call_default_factory=True))
        for name, field in model.model_fields.items()
        if name != "security"
    }


def _text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(int(value) if isinstance(value, float) else value)


def test_the_table_of_settings_holds_each_of_them_with_its_default_and_no_other() -> None:
    assert documented() == defined(Settings, "ORCHESTRA_") | defined(Security, "ORCHESTRA_SECURITY_")


def test_the_page_names_every_option_of_run() -> None:
    (run,) = [command for name, command in vars(get_command(app))["commands"].items() if name == "run"]
    options = {option for each in run.params if not getattr(each, "hidden", False) for option in each.opts}

    assert [option for option in options if option.startswith("--") and option not in PAGE] == []


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("8080", ("127.0.0.1", 8080)),
        ("0.0.0.0:8080", ("0.0.0.0", 8080)),
        ("[::]:8080", ("::", 8080)),
        ("", None),
    ],
)
def test_the_address_of_the_health_endpoints_is_a_port_with_or_without_a_host(
    text: str, address: tuple[str, int] | None
) -> None:
    assert Settings.from_environment({"ORCHESTRA_HEALTH": text} if text else {}).health_address == address


@pytest.mark.parametrize("text", ["x", "70000", ":80", "a:b:1", "8080/live", ""])
def test_another_address_is_refused_with_examples(text: str) -> None:
    with pytest.raises(SettingsError, match=r"ORCHESTRA_HEALTH: '.*' is not \[HOST:\]PORT, such as 8080"):
        Settings.from_environment({"ORCHESTRA_HEALTH": text})
