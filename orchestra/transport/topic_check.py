"""Are the topics of a cluster as they must be, and if not, how is that mended?

Pure: what is wanted and what is there come in as values.

Only what correctness leans on is compared. Whatever else an operator tunes on an existing topic is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from orchestra.errors import DefinitionError
from orchestra.transport.port import TopicSpec, TopicState

_EXACT = {"cleanup.policy": "delete", "message.timestamp.type": "CreateTime"}
"""Settings that must be just so, with Kafka's default for a topic that says nothing of them."""

_AT_LEAST = frozenset({"retention.ms", "retention.bytes", "delete.retention.ms", "max.message.bytes"})
"""Settings of which more is fine. -1 is without end."""


_SIZE = "max.message.bytes"
_USUAL_SIZE = 1048588
"""What Kafka takes where nobody says anything."""


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
    needed = list(specs)
    to_create = {spec.name: spec for spec in missing_of(needed, states, partitions=partitions)}
    problems: list[Problem] = []
    for spec in needed:
        state = states.get(spec.name)
        if state is None:
            problems.append(_missing(to_create[spec.name]))
        else:
            problems += [*_differences(spec, state), *_too_small(spec, state, states, to_create)]
    return problems


def missing_of(specs: Iterable[TopicSpec], states: Mapping[str, TopicState], *, partitions: int) -> list[TopicSpec]:
    """The specs of topics that do not exist, each as it is to be created: wide and roomy enough for what it takes.

    Where a spec does not say how many partitions: as many as the largest topic that it takes records from, else
    ``partitions``.
    """
    needed = list(specs)
    declared = {spec.name: spec.partitions or partitions for spec in needed}

    def count(name: str) -> int:
        state = states.get(name)
        return state.partitions if state is not None else declared.get(name, partitions)

    found: list[TopicSpec] = []
    for spec in needed:
        if spec.name not in states:
            sources = [count(name) for name in spec.takes_from]
            wide = spec.partitions or max(sources, default=partitions)
            found.append(replace(spec, partitions=wide, config=_roomy(spec, states)))
    return found


def _roomy(spec: TopicSpec, states: Mapping[str, TopicState]) -> Mapping[str, str]:
    sizes = [int(states[name].config.get(_SIZE, 0)) for name in spec.takes_from & states.keys()]
    largest = max([*sizes, spec.record_bytes])
    return {_SIZE: str(largest), **spec.config} if largest > _USUAL_SIZE else spec.config


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
    config = {**one.config, **other.config}
    return TopicSpec(
        one.name,
        one.partitions or other.partitions,
        config,
        one.takes_from | other.takes_from,
        max(one.record_bytes, other.record_bytes),
    )


def _missing(spec: TopicSpec) -> Problem:
    settings = "".join(f" --config {name}={value}" for name, value in spec.config.items())
    remedy = f"kafka-topics.sh --create --topic {spec.name} --partitions {spec.partitions}{settings}"
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
                spec.name, "config", f"has {name}={found}, must have {least}{wanted}", _set(spec.name, name, wanted)
            )


def _too_small(
    spec: TopicSpec, state: TopicState, states: Mapping[str, TopicState], to_create: Mapping[str, TopicSpec]
) -> Iterable[Problem]:
    """What keeps a topic from taking the records of others as they are."""
    counts = {name: states[name].partitions for name in spec.takes_from & states.keys()}
    counts |= {name: to_create[name].partitions or 0 for name in spec.takes_from & to_create.keys()}
    largest = max(counts, key=lambda name: (counts[name], name), default=None)
    if spec.partitions is None and largest is not None and state.partitions < counts[largest]:
        yield Problem(
            spec.name,
            "partitions",
            f"has {state.partitions} partitions, must have at least the {counts[largest]} of {largest}",
            f"kafka-topics.sh --alter --topic {spec.name} --partitions {counts[largest]}",
        )
    wanted = {f" of {name}": int(states[name].config.get(_SIZE, 0)) for name in spec.takes_from & states.keys()}
    wanted[""] = spec.record_bytes
    heaviest = max(wanted, key=lambda name: (wanted[name], name))
    own = state.config.get(_SIZE)
    if own is not None and int(own) < wanted[heaviest]:
        yield Problem(
            spec.name,
            "config",
            f"has {_SIZE}={own}, must have at least {'the ' if heaviest else ''}{wanted[heaviest]}{heaviest}",
            _set(spec.name, _SIZE, str(wanted[heaviest])),
        )


def _set(topic: str, name: str, value: str) -> str:
    return (
        f"kafka-configs.sh --alter --entity-type topics --entity-name {topic} "
        f"--add-config {name}={f'[{value}]' if ',' in value else value}"
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
