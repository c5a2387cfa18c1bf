"""Which versions of flows does this process have, and which takes over the instances of which?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestra.flows.decision import Definition, Migrating


class Flows:
    """The flow versions that this process has."""

    def __init__(self, definitions: Iterable[Definition]) -> None:
        self.by_version: dict[tuple[str, int], Definition] = {}
        self._newest: dict[str, Definition] = {}
        self._successors: dict[tuple[str, int], Migrating] = {}
        for definition in sorted(definitions, key=lambda each: each.version):
            self.by_version[definition.name, definition.version] = definition
            self._newest[definition.name] = definition
            if isinstance(definition, Migrating):
                self._successors |= {(old.name, old.version): definition for old in definition.migrates}

    def find(self, flow: str, version: int | None) -> Definition | None:
        return None if version is None else self.by_version.get((flow, version))

    def newest(self, flow: str) -> Definition | None:
        return self._newest.get(flow)

    def successor(self, flow: str, version: int | None) -> Migrating | None:
        """The newest version that takes over running instances of this one."""
        return None if version is None else self._successors.get((flow, version))

    def digests(self) -> Mapping[str, str]:
        """``<flow>/<version>`` to the digest of its graph."""
        return {f"{name}/{version}": each.digest for (name, version), each in self.by_version.items()}
