"""May instances that began under an older version go on under a newer one?

``class Order(Saga, name="order", version=2, migrates=(OrderV1,))``. The two graphs are compared when the class is made:
whatever an instance may have begun is in the new one just as it was. An instance is taken over while it runs forward;
one that is being undone, or waits for an operator, ends on the version that it began with.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestra.errors import DefinitionError
from orchestra.flows.decision import Status
from orchestra.flows.difference import obstacles
from orchestra.flows.graph import Graph
from orchestra.flows.instance import Instance


def check_migrates(new: Graph, olds: Sequence[Graph]) -> None:
    """Raises DefinitionError where instances of one of these could not go on under the new graph."""
    seen: set[int] = set()
    for old in olds:
        place = f"{new.label}: migrates: {old.label}"
        if old.name != new.name:
            raise DefinitionError(f"{place} is flow {old.name!r}, and this is {new.name!r}; name versions of one flow")
        if old.version >= new.version:
            raise DefinitionError(
                f"{place} is version {old.version}, and this is version {new.version}; name older versions"
            )
        if old.version in seen:
            raise DefinitionError(f"{place}: version {old.version} is there twice; name each once")
        seen.add(old.version)
        if reasons := obstacles(old.parts, new.parts):
            raise DefinitionError(
                f"{place}: instances of version {old.version} could not go on under version {new.version}: "
                f"{'. And '.join(reasons)}. Leave {old.label} out of migrates, and keep it in the coordinator's flows "
                "until its instances have ended"
            )


def can_follow(instance: Instance) -> bool:
    """Whether this instance can be taken over now."""
    return instance.status is Status.RUNNING and instance.failure is None
