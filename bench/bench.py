"""What does every measurement get to work with?"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

SESSION = {"ORCHESTRA_SESSION_TIMEOUT": "6", "ORCHESTRA_HEARTBEAT_INTERVAL": "1"}


@dataclass(frozen=True, slots=True)
class Bench:
    """One run.

    Attributes:
        quick: measure a ``divisor``-th: for trying the bench, not for figures to keep.
        name: before topics and groups, so that a broker can be measured on twice.
    """

    servers: str
    folder: Path
    console: Console
    quick: bool = False
    divisor: int = 10
    name: str = field(default_factory=lambda: f"bench-{os.urandom(3).hex()}")

    def some(self, count: int) -> int:
        """How many, in this run."""
        return max(30, count // self.divisor) if self.quick else count

    def say(self, text: str) -> None:
        self.console.print(f"[dim]·[/] {text}")

    def environment(self, namespace: str) -> dict[str, str]:
        """The settings of a measurement: topics and groups of its own, on the one broker."""
        return {
            **SESSION,
            "ORCHESTRA_BOOTSTRAP_SERVERS": self.servers,
            "ORCHESTRA_NAMESPACE": namespace,
            "SERVICES_DATA": str(self.folder / namespace / "data"),
            "PYTHONUNBUFFERED": "1",
        }
