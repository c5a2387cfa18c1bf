"""Are the topics of a cluster as they must be, and if not, how is that mended?

Pure: what is wanted and what is there come in as values.

Only what correctness leans on is compared. Whatever else an operator tunes on an existing topic is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from orchestra.errors import DefinitionError
from orchestra.transport.port import TopicSpec, TopicState

_EXACT = {"cleanup.policy": "delete", "message.timestamp.type": "CreateTime"}
"""Settings that must be just so, with Kafka's default for a topic that says nothing of them."""

_AT_LEAST = frozenset({"retention.ms", "retention.bytes", "delete.retention.ms", "max.message.bytes"})
"""Settings of which more is fine. -1 is without end."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with one topic.

    Attributes:
        topic: its name on the cluster.
        kind: ``missing``, ``partitions``, or ``config``.
        text: what is wrong.
        remedy: what to do about it.
    """

    topic: str
    kind: Literal["missing", "partitions", "config"]
    text: str
    remedy: str


def merge(specs: Iterable[TopicSpec]) -> list[TopicSpec]:
    """One spec for each topic, sorted by name: several parts of an app may need the same topic.

    Raises:
        DefinitionError: two parts want different things of it.
    """
    merged: dict[str, TopicSpec] = {}
    for spec in specs:
        known = merged.get(spec.name)
        merged[spec.name] = _both(known, spec) if known else spec
    return [merged[name] for name in sorted(merged)]


def check(specs: Iterable[TopicSpec], states: Mapping[str, TopicState], *, partitions: int) -> list[Problem]:
    """Everything that is wrong, in the order of ``specs``; an empty list if all is well.

    Args:
        specs: the topics that are needed, each once.
        states: the topics that exist, by name.
        partitions: how many a missing topic gets whose spec does not say.
    """
    problems: list[Problem] = []
    for spec in specs:
        state = states.get(spec.name)
        problems.extend([_missing(spec, partitions)] if state is None else _differences(spec, state))
    return problems


def explain(problems: Sequence[Problem], topics: int) -> str:
    """The problems as text for a person, each with its remedy. ``topics``: how many were looked at."""
    wrong = len({problem.topic for problem in problems})
    lines = [f"{wrong} of {topics} topics {'is' if wrong == 1 else 'are'} not as needed"]
    for problem in problems:
        if problem.kind != "missing":
            lines += [f"  {problem.topic}: {problem.text}", f"      {problem.remedy}"]
    missing = [problem for problem in problems if problem.kind == "missing"]
    if missing:
        lines += [f"  missing: {', '.join(problem.topic for problem in missing)}"]
        lines += ["      `orchestra topics create` makes them, or Kafka's own tool:"]
        lines += [f"      {problem.remedy}" for problem in missing]
    return "\n".join(lines)


def _both(one: TopicSpec, other: TopicSpec) -> TopicSpec:
    if one.partitions and other.partitions and one.partitions != other.partitions:
        raise DefinitionError(
            f"topic {one.name!r} is to have {one.partitions} partitions and {other.partitions}: two parts of the app "
            "disagree; give them topics of their own, or the same count"
        )
    for name in sorted(one.config.keys() & other.config.keys()):
        if one.config[name] != other.config[name]:
            raise DefinitionError(
                f"topic {one.name!r} is to have {name}={one.config[name]} and {name}={other.config[name]}: "
                "two parts of the app disagree; give them topics of their own"
            )
    return TopicSpec(one.name, one.partitions or other.partitions, {**one.config, **other.config})


def _missing(spec: TopicSpec, partitions: int) -> Problem:
    settings = "".join(f" --config {name}={value}" for name, value in spec.config.items())
    remedy = f"kafka-topics.sh --create --topic {spec.name} --partitions {spec.partitions or partitions}{settings}"
    return Problem(spec.name, "missing", "does not exist", remedy)


def _differences(spec: TopicSpec, state: TopicState) -> Iterable[Problem]:
    if spec.partitions is not None and spec.partitions != state.partitions:
        yield Problem(
            spec.name,
            "partitions",
            f"has {state.partitions} partitions, must have {spec.partitions}",
            f"the count is fixed: declare {state.partitions}, or delete the topic with its records and create it anew",
        )
    for name, wanted in spec.config.items():
        found = state.config.get(name, _EXACT.get(name))
        if found is not None and not _suits(name, wanted, found):
            least = "at least " if name in _AT_LEAST and wanted != "-1" else ""
            yield Problem(
                spec.name,
                "config",
                f"has {name}={found}, must have {least}{wanted}",
                f"kafka-configs.sh --alter --entity-type topics --entity-name {spec.name} "
                f"--add-config {name}={f'[{wanted}]' if ',' in wanted else wanted}",
            )


def _suits(name: str, wanted: str, found: str) -> bool:
    if name == "cleanup.policy":
        return _words(wanted) == _words(found)
    if name in _EXACT:
        return wanted == found
    if name in _AT_LEAST:
        return found == "-1" or (wanted != "-1" and int(found) >= int(wanted))
    return True


def _words(policy: str) -> set[str]:
    return {word.strip() for word in policy.split(",")}
