"""What does the runtime raise through users' code, to end it without being taken for an error?"""

from __future__ import annotations

from typing import Literal


class Refused(BaseException):
    """The command may never have its effect: its compensation came first, or it was refused as expired before.

    Not an ``Exception``: a handler's ``except Exception`` around its effect must not turn it into something else.
    """

    def __init__(self, reason: Literal["expired", "barred"]) -> None:
        super().__init__(reason)
        self.reason: Literal["expired", "barred"] = reason


class GivenUp(Exception):  # noqa: N818  a signal, no error
    """The partition is being taken away: the record is left as it is, for whoever has the partition next."""


class Held(Exception):  # noqa: N818  a signal, no error
    """The record cannot become a dead letter yet: the partition's budget is spent."""

    def __init__(self, seconds: float) -> None:
        super().__init__("the dead-letter budget of its partition is spent")
        self.seconds = seconds
        """When to look again."""
