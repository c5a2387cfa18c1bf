"""How is an acknowledgement told that will not come? The same words in every transport: the port promises them."""

from __future__ import annotations

import asyncio
from typing import Any

from orchestra.errors import ClosedError, FenceBreachedError, FencedError, OutcomeUnknownError, TransportError


def fail(future: asyncio.Future[Any], error: BaseException) -> None:
    """End a future that may have ended already."""
    if not future.done():
        future.set_exception(error)
        future.exception()  # whoever does not wait for it has chosen not to know: no warning at garbage collection


def unknown_after(failure: Exception) -> TransportError:
    """What an append to a fenced log gets that was under way when an earlier one failed."""
    if isinstance(failure, FencedError | FenceBreachedError):
        return type(failure)(str(failure))
    return OutcomeUnknownError(f"under way when this log died: {failure}")


def refused_after(failure: Exception) -> TransportError:
    """What an append to a dead fenced log gets: surely not stored."""
    if isinstance(failure, FencedError | FenceBreachedError):
        return type(failure)(str(failure))
    return ClosedError(f"this log is dead: {failure}")
