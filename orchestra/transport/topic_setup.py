"""How does a process make sure, before it starts, that its topics are there and as they must be?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from orchestra.errors import TopicError
from orchestra.settings import Settings
from orchestra.transport.port import Topics, TopicSpec
from orchestra.transport.topic_check import Problem, check, explain, missing_of

log = logging.getLogger("orchestra")

_LOOKS, _LOOK_SECONDS = 25, 0.2


async def find_problems(topics: Topics, needed: Sequence[TopicSpec], settings: Settings) -> list[Problem]:
    """What is wrong with the needed topics on this cluster. Raises UnreachableError."""
    states = await topics.describe([spec.name for spec in needed])
    return check(needed, states, partitions=settings.partitions)


async def find_missing(topics: Topics, needed: Sequence[TopicSpec], settings: Settings) -> list[TopicSpec]:
    """The needed topics that are not there, as they are to be created. Raises UnreachableError."""
    states = await topics.describe([spec.name for spec in needed])
    return missing_of(needed, states, partitions=settings.partitions)


async def ensure_topics(topics: Topics, needed: Sequence[TopicSpec], settings: Settings) -> None:
    """Return when every needed topic is there and as it must be. Creates the missing ones where the settings allow it,
    but nothing as long as something else is wrong.

    Raises:
        TopicError: lists every problem at once, each with its remedy.
        UnreachableError: no broker answered.
    """
    problems = await find_problems(topics, needed, settings)
    missing = {problem.topic for problem in problems if problem.kind == "missing"}
    if missing and settings.may_create_topics and len(missing) == len(problems):
        log.info("creating %d topics: %s", len(missing), ", ".join(sorted(missing)))
        await topics.create(await find_missing(topics, needed, settings))
        problems = await _problems_left(topics, needed, settings)
    if problems:
        raise TopicError(explain(problems, len(needed)))


async def _problems_left(topics: Topics, needed: Sequence[TopicSpec], settings: Settings) -> list[Problem]:
    """What is wrong behind a creation. The broker that is asked may hear of the new topics a moment later."""
    problems = await find_problems(topics, needed, settings)
    for _ in range(_LOOKS):
        if not any(problem.kind == "missing" for problem in problems):
            break
        await asyncio.sleep(_LOOK_SECONDS)
        problems = await find_problems(topics, needed, settings)
    return problems
