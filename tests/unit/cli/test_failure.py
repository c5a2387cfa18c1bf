"""Does each kind of failure end with its own code, and with what to do about it?"""

from __future__ import annotations

import pytest

from orchestra.cli.failure import exit_code, explain
from orchestra.errors import (
    DecodeError,
    DefinitionError,
    FencedError,
    OrchestraError,
    SettingsError,
    TopicError,
    UnreachableError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DefinitionError("x"), 2),
        (SettingsError("x"), 3),
        (UnreachableError("x"), 4),
        (TopicError("x"), 5),
        (FencedError("x"), 1),
        (DecodeError("id", "x"), 1),
        (OrchestraError("x"), 1),
    ],
)
def test_the_exit_code_tells_the_kind_of_failure(error: OrchestraError, code: int) -> None:
    assert exit_code(error) == code


def test_an_unreachable_broker_comes_with_where_it_was_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRA_BOOTSTRAP_SERVERS", "kafka:1234")

    assert "ORCHESTRA_BOOTSTRAP_SERVERS is kafka:1234" in explain(UnreachableError("nobody answers"))


def test_an_unset_address_is_said_to_be_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORCHESTRA_BOOTSTRAP_SERVERS", raising=False)

    assert "not set, so localhost:9092 was asked" in explain(UnreachableError("nobody answers"))


def test_another_error_is_shown_as_it_is() -> None:
    assert explain(TopicError("a is missing")) == "a is missing"
