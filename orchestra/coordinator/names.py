"""What are a coordinator's topics and groups called on this cluster?"""

from __future__ import annotations

from dataclasses import dataclass

from orchestra.settings import Settings


@dataclass(frozen=True, slots=True)
class Names:
    """Topics and groups with the settings applied."""

    coordinator: str
    group: str
    router_group: str
    inbox: str
    state: str
    journal: str
    alerts: str
    dead_letters: str

    @classmethod
    def of(cls, coordinator: str, settings: Settings) -> Names:
        """The names for a coordinator of that name."""
        return cls(
            coordinator=coordinator,
            group=settings.scoped(coordinator),
            router_group=settings.scoped(f"{coordinator}.router"),
            inbox=settings.topic(f"{coordinator}.inbox"),
            state=settings.topic(f"{coordinator}.state"),
            journal=settings.topic(f"{coordinator}.journal"),
            alerts=settings.topic(f"{coordinator}.alerts"),
            dead_letters=settings.topic(f"{coordinator}.dead-letters"),
        )
