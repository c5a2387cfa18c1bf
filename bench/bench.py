"""What does every measurement get to work with?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

SESSION = {"ORCHESTRA_SESSION_TIMEOUT": "6", "ORCHESTRA_HEARTBEAT_INTERVAL": "1"}


@dataclass(frozen=True, slots=True)
class Bench:
    """One run. ``quick`` measures a tenth: for trying the bench, not for figures to keep."""

    servers: str
    folder: Path
    console: Console
    quick: bool = False

    def some(self, count: int) -> int:
        """How many, in this run."""
        return max(30, count // 10) if self.quick else count

    def say(self, text: str) -> None:
        self.console.print(f"[dim]·[/] {text}")

    def environment(self, namespace: str) -> dict[str, str]:
        """The settings of a measurement: topics and groups of its own, on the one broker."""
        return {
            **SESSION,
            "ORCHESTRA_BOOTSTRAP_SERVERS": self.servers,
            "ORCHESTRA_NAMESPACE": namespace,
            "FOOD_DELIVERY_DATA": str(self.folder / namespace / "data"),
            "PYTHONUNBUFFERED": "1",
        }
