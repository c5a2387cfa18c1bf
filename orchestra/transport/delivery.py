"""What has become of records that were handed over together? The port's Delivery, for every transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from orchestra.errors import TransportError


class Tally:
    """Counts what has ended, and keeps what failed. The port's Delivery."""

    __slots__ = ("_done", "_left", "_withdraw", "failures")

    def __init__(self, count: int) -> None:
        self.failures: dict[int, TransportError] = {}
        self._left = count
        self._done: asyncio.Future[None] | None = None
        self._withdraw: list[Callable[[], None]] = []

    @property
    def is_done(self) -> bool:
        return self._left == 0

    async def wait(self) -> dict[int, TransportError]:
        if self._left:
            if self._done is None:
                self._done = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._done])  # shielded: several may wait, and one of them be cancelled
        return self.failures

    def give_up(self) -> None:
        withdraw, self._withdraw = self._withdraw, []
        for call in withdraw:
            call()

    def on_give_up(self, withdraw: Callable[[], None]) -> None:
        """Call ``withdraw`` when nobody wants the rest any more. It may call :meth:`failed`."""
        self._withdraw.append(withdraw)

    def stored(self, count: int) -> None:
        """So many of them are stored."""
        self._ended(count)

    def failed(self, places: Sequence[int], error: TransportError) -> None:
        """These are not, or perhaps not, stored."""
        for place in places:
            self.failures[place] = error
        self._ended(len(places))

    def _ended(self, count: int) -> None:
        self._left -= count
        if self._left == 0:
            self._withdraw.clear()
            if self._done is not None and not self._done.done():
                self._done.set_result(None)
