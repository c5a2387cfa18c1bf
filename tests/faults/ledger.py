"""What did the counting service do? Its effects, and its journal of handlings."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

Command = tuple[str, int]
"""An account and a number."""


class Done(NamedTuple):
    """An effect, as it stands in the database."""

    account: str
    number: int
    process: int


class Ledger:
    """Reads what the members of one test have done. New effects are added to what is known by :meth:`refresh`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last = 0
        self._read = 0
        self._journal: list[tuple[str, Command]] = []
        self.effects: list[Done] = []
        """In the order in which they happened."""
        self.known: set[Command] = set()

    def refresh(self) -> None:
        database = self._folder / "effects.db"
        if not database.exists():
            return
        connection = sqlite3.connect(database, timeout=10)
        try:
            query = "SELECT id, account, number, process FROM effects WHERE id > ? ORDER BY id"
            for row in connection.execute(query, (self._last,)):
                self._last = row[0]
                self.effects.append(Done(*row[1:]))
                self.known.add(row[1:3])
        except sqlite3.OperationalError as error:  # no table yet
            if "no such table" not in str(error):
                raise
        finally:
            connection.close()

    def count(self) -> int:
        self.refresh()
        return len(self.effects)

    def twice(self) -> list[Command]:
        """Effects that happened more than once."""
        counts = Counter((done.account, done.number) for done in self.effects)
        return [command for command, count in counts.items() if count > 1]

    def disorder(self) -> list[str]:
        """Where an effect came after a later one of its account."""
        highest: dict[str, int] = defaultdict(int)
        wrong = []
        for done in self.effects:
            if done.number < highest[done.account]:
                wrong.append(f"{done.account}: {done.number} after {highest[done.account]}")
            highest[done.account] = max(highest[done.account], done.number)
        return wrong

    def processes(self, since: int = 0) -> set[int]:
        """Which processes had effects, from the ``since``-th effect on."""
        return {done.process for done in self.effects[since:]}

    def journal(self, *words: str) -> list[tuple[str, Command]]:
        """Handlings as they went: ``begun``, then ``done``, or ``again`` where the effect had happened before."""
        file = self._folder / "journal"
        if file.exists():
            with file.open("rb") as lines:
                lines.seek(self._read)
                new = lines.read()
            self._read += len(new)  # whole lines: each is written in one go
            entries = [line.split() for line in new.decode().splitlines()]
            self._journal += [(word, (account, int(number))) for word, account, number, _ in entries]
        return [entry for entry in self._journal if not words or entry[0] in words]

    def begun(self) -> Counter[Command]:
        """How often each command was begun."""
        return Counter(command for _, command in self.journal("begun"))

    def repeated(self) -> int:
        """Handlings beyond the first of a command: what at-least-once cost."""
        begun = self.begun()
        return begun.total() - len(begun)
