"""How do I test my service, and my flow? What tests use; each name is loaded when it is first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestra.testing.memory import published, running_in_memory
    from orchestra.testing.memory_database import MemoryDatabase, MemorySession
    from orchestra.testing.proof import prove
    from orchestra.testing.simulation import Fault, Simulation, SimulationFailed, World
    from orchestra.testing.story import Refused, Sent, Story, run

__all__ = [
    "Fault",
    "MemoryDatabase",
    "MemorySession",
    "Refused",
    "Sent",
    "Simulation",
    "SimulationFailed",
    "Story",
    "World",
    "prove",
    "published",
    "run",
    "running_in_memory",
]

_HOMES = {
    "Fault": "orchestra.testing.simulation",
    "MemoryDatabase": "orchestra.testing.memory_database",
    "MemorySession": "orchestra.testing.memory_database",
    "Refused": "orchestra.testing.story",
    "Sent": "orchestra.testing.story",
    "Simulation": "orchestra.testing.simulation",
    "SimulationFailed": "orchestra.testing.simulation",
    "Story": "orchestra.testing.story",
    "World": "orchestra.testing.simulation",
    "prove": "orchestra.testing.proof",
    "published": "orchestra.testing.memory",
    "run": "orchestra.testing.story",
    "running_in_memory": "orchestra.testing.memory",
}

if not TYPE_CHECKING:  # a checker would take any name at all for granted

    def __getattr__(name: str) -> object:
        # pytest loads orchestra.testing.plugin in every project: importing this package must cost nothing.
        if (home := _HOMES.get(name)) is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        globals()[name] = value = getattr(import_module(home), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
