"""Which versions of which flows ever ran here, may this process join them, and what waits for one that is not here?

A shard's log keeps, for each version that ever ran in it, the digest of its graph and what that is made of. So a graph
that was changed under its old number is found before it touches an instance, and what has changed can be said. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from orchestra.coordinator.record import PARKED, QUEUED
from orchestra.errors import DefinitionError
from orchestra.flows.decision import Definition, Status
from orchestra.flows.difference import differences, plain_parts

KEPT_PARTS = 5
"""Of each flow's newest versions it is known what they were made of; of older ones, the digest alone."""

Known = dict[str, dict[str, Any]]
"""``<flow>/<version>`` -> ``{"digest": ..., "parts": {...}}``."""


def read_known(raw: Mapping[str, Any]) -> Known:
    """What stands in the log's record of versions; one that was written before parts were kept holds digests only."""
    return {name: {"digest": one} if isinstance(one, str) else one for name, one in raw.items()}


def known_of(definitions: Iterable[Definition]) -> Known:
    """What this process has, as the log keeps it."""
    return {
        _name(one.name, one.version): {"digest": one.digest, "parts": plain_parts(one.parts)} for one in definitions
    }


def merged(known: Known, ours: Known) -> Known | None:
    """All versions that ever ran here, or None where the log knows them all.

    Raises:
        DefinitionError: a version has another graph than the one of that number that ran here; says what has changed.
    """
    for name, one in ours.items():
        if (before := known.get(name)) is not None and before["digest"] != one["digest"]:
            raise DefinitionError(_altered(name, before, one))
    whole = _without_old_parts({**known, **ours})
    return whole if whole != known else None


def _altered(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    flow, version = _split(name)
    changes = ([str(one) for one in differences(before["parts"], now["parts"])] if "parts" in before else []) or [
        f"the digest of its graph was {before['digest']}, and is {now['digest']}"
    ]
    return "\n".join(
        [
            f"flow {flow} version {version} has another graph than the version {version} that ran here before:",
            *(f"  {change}" for change in changes),
            f"Instances may be under way on it. Either take the change back; or give the changed flow version "
            f"{version + 1}, and keep the old class beside it, with version={version}, until `orchestra flows list` "
            f"shows no instance of version {version}",
        ]
    )


def _without_old_parts(known: Known) -> Known:
    numbers: dict[str, list[int]] = {}
    for name in known:
        flow, version = _split(name)
        numbers.setdefault(flow, []).append(version)
    newest = {flow: set(sorted(versions)[-KEPT_PARTS:]) for flow, versions in numbers.items()}
    return {
        name: one if _split(name)[1] in newest[_split(name)[0]] else {"digest": one["digest"]}
        for name, one in known.items()
    }


def _name(flow: str, version: int) -> str:
    return f"{flow}/{version}"


def _split(name: str) -> tuple[str, int]:
    flow, _, version = name.rpartition("/")
    return flow, int(version)


# ---- instances by version


class VersionCount(NamedTuple):
    """The instances of one version of a flow, by their status: ``running``, ``queued``, ``parked``, ``stuck``, ..."""

    flow: str
    version: int | None
    """None: no process that knows the flow has seen them yet."""
    counts: Mapping[str, int]

    @property
    def live(self) -> int:
        """Those for which there is still something to happen."""
        return sum(count for status, count in self.counts.items() if status not in _FINAL)


_FINAL = frozenset(status.value for status in Status if status.is_final)
_ORDER = (*(status.value for status in Status if not status.is_final), QUEUED, PARKED, *sorted(_FINAL))


def count_by_version(instances: Iterable[tuple[str, str]]) -> list[VersionCount]:
    """Instances by version, in order.

    Args:
        instances: of each, its flow as its record's header names it (``<flow>/<version>``, or the flow alone), and its
            status.
    """
    counts: dict[tuple[str, int | None], Counter[str]] = {}
    for name, status in instances:
        flow, slash, version = name.partition("/")
        counts.setdefault((flow, int(version) if slash else None), Counter())[status] += 1
    ordered = sorted(counts.items(), key=lambda one: (one[0][0], one[0][1] or 0))
    return [VersionCount(flow, version, dict(_in_order(found))) for (flow, version), found in ordered]


def _in_order(found: Counter[str]) -> Iterator[tuple[str, int]]:
    for status in (*_ORDER, *sorted(set(found) - set(_ORDER))):
        if found[status]:
            yield status, found[status]


@dataclass(slots=True)
class Absent:
    """What lives in some shards and is of a version that this process does not have."""

    shards: dict[int, list[VersionCount]] = field(default_factory=dict[int, list[VersionCount]])

    def found(self, shard: int, counts: Iterable[VersionCount], ours: Iterable[tuple[str, int]]) -> None:
        """What a shard held when it was taken."""
        have = set(ours)
        self.shards[shard] = [
            one for one in counts if one.live and one.version is not None and (one.flow, one.version) not in have
        ]

    def told(self) -> str | None:
        """In words, with what to do; None where there is none."""
        total: dict[tuple[str, int], Counter[str]] = {}
        for one in (one for counts in self.shards.values() for one in counts):
            live = {status: count for status, count in one.counts.items() if status not in _FINAL}
            total.setdefault((one.flow, cast("int", one.version)), Counter()).update(live)
        if not total:
            return None
        each = "; ".join(
            f"{flow} version {version}: {', '.join(f'{count} {status}' for status, count in _in_order(counts))}"
            for (flow, version), counts in sorted(total.items())
        )
        return (
            f"instances are under way on versions that this process does not have: {each}. Nothing of them is lost: "
            "their inputs are kept until a process has their version. Deploy it again, beside the newer one; or let "
            "the newer one take them over (migrates=...); `orchestra flows list` shows who waits"
        )
