"""How is an error shown to an operator, and with which code does the process end?

0 done; 1 it did not work; 2 the command line or a definition is wrong; 3 a setting is; 4 no broker answers; 5 topics
are not as they must be; 6 ``check`` did not get through, and found nothing so far. The text on stderr says what
happened and what to do about it.
"""

from __future__ import annotations

import os

from orchestra.errors import DefinitionError, OrchestraError, SettingsError, TopicError, UnreachableError

_CODES: tuple[tuple[type[OrchestraError], int], ...] = (
    (DefinitionError, 2),
    (SettingsError, 3),
    (UnreachableError, 4),
    (TopicError, 5),
)


def exit_code(error: OrchestraError) -> int:
    """The code that tells a script what kind of failure it was."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), 1)


def explain(error: OrchestraError) -> str:
    """The error as text for a person, with what to do where the error itself cannot know."""
    text = str(error)
    return f"{text}\n{_where_to_look()}" if isinstance(error, UnreachableError) else text


def _where_to_look() -> str:
    servers = os.environ.get("ORCHESTRA_BOOTSTRAP_SERVERS")
    asked = servers or "not set, so localhost:9092 was asked"
    return (
        f"ORCHESTRA_BOOTSTRAP_SERVERS is {asked}. "
        "`orchestra doctor` looks closer; `orchestra kafka up` starts a Kafka on this machine."
    )
