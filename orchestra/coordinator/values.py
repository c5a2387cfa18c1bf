"""Which values stand beside the instances' records, and which of them does nobody need any more? Pure.

A value is stored before the record that first refers to it, and removed after the record that no longer does. What a
crash leaves in between is found by the next restore, or goes when the instance is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import NamedTuple

from orchestra.coordinator.record import Instance, split_value_key, value_key


class _OfRun(NamedTuple):
    run: int
    stored: dict[str, bytes]


class Values:
    """The values of one shard. A run has its own: a restart begins with none."""

    __slots__ = ("by_instance", "garbage")

    def __init__(self) -> None:
        self.by_instance: dict[str, _OfRun] = {}
        self.garbage: dict[str, None] = {}
        """Keys of values that no record refers to, and whose nulls are yet to be written."""

    def of(self, instance: str, run: int) -> Mapping[str, bytes]:
        """By name, what is stored for this run."""
        found = self.by_instance.get(instance)
        return found.stored if found is not None and found.run == run else {}

    def keep(self, instance: Instance, changed: Mapping[str, bytes | None]) -> list[tuple[str, bytes]]:
        """The instance's next record refers to these: what to append before it, by key."""
        appends: list[tuple[str, bytes]] = []
        if is_over(instance):
            return appends
        for name, value in changed.items():
            if value is None:
                continue
            if (of := self.by_instance.get(instance.id)) is None or of.run != instance.run:
                self.forget(instance.id)
                of = self.by_instance[instance.id] = _OfRun(instance.run, {})
            of.stored[name] = value
            key = value_key(instance.id, instance.run, name)
            self.garbage.pop(key, None)
            appends.append((key, value))
        return appends

    def drop(self, instance: Instance, changed: Mapping[str, bytes | None]) -> None:
        """The instance's record is appended: what it no longer refers to is garbage."""
        of = self.by_instance.get(instance.id)
        if of is None:
            return
        if is_over(instance) or of.run != instance.run:
            self.forget(instance.id)
            return
        for name, value in changed.items():
            if value is None and of.stored.pop(name, None) is not None:
                self.garbage[value_key(instance.id, of.run, name)] = None

    def forget(self, instance: str) -> None:
        """All of the instance's values are garbage."""
        run, stored = self.by_instance.pop(instance, _OfRun(0, {}))
        self.garbage.update((value_key(instance, run, name), None) for name in stored)

    def restore(self, values: Mapping[str, bytes], instances: Iterable[Instance]) -> None:
        """What the log holds. ``instances``: those that may refer to some; what belongs to no run of theirs is what a
        crash left."""
        runs = {instance.id: instance.run for instance in instances if not is_over(instance)}
        for key, value in values.items():
            instance, run, name = split_value_key(key)
            if runs.get(instance) == run:
                self.by_instance.setdefault(instance, _OfRun(run, {})).stored[name] = value
            else:
                self.garbage[key] = None

    def sweep(self, most: int) -> list[str]:
        """Keys whose nulls are to be written now."""
        swept = list(islice(self.garbage, most))
        for key in swept:
            del self.garbage[key]
        return swept


def is_over(instance: Instance) -> bool:
    """Whether no state is left that could refer to a value."""
    return instance.finished is not None and instance.state is None
