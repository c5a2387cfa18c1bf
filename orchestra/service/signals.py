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
