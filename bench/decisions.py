"""What does one decision cost, by itself? No Kafka, no coordinator: the pure function, warm, its best round."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from pydantic_core import from_json, to_json

import orchestra
from bench.bench import Bench
from bench.figures import Figure
from bench.flows import Asked, Did, Ended, Parallel, ThreeSteps, doers, three
from orchestra.events.cloudevents import decode, encode
from orchestra.events.envelope import Envelope, compose
from orchestra.flows.decision import Decision, Definition, Emission, Json, Occurred, Outcome, instance_id
from orchestra.flows.saga import definition_of
from orchestra.testing.memory import published, running_in_memory

NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
ROUNDS = 15
EACH = 100

Step = tuple[Json, Outcome]
"""A state, and the outcome that comes next."""


async def decisions(bench: Bench) -> list[Figure]:
    """A step of a saga of three, and the steps of a flow of twenty with parallel blocks."""
    saga = [cost(definition_of(ThreeSteps), *step) for step in history(definition_of(ThreeSteps))]
    flow = definition_of(Parallel)
    twenty = [cost(flow, *step) for step in history(flow)]
    first, last = sum(twenty[:5]) / 5, sum(twenty[-5:]) / 5
    steps = " ".join(f"{us:.0f}" for us in twenty)
    sizes = await records()
    return [
        Figure(
            "decide: a step of a saga of three",
            saga[1],
            "µs",
            25,
            note=f"the middle one; the dearest {max(saga):.0f}",
        ),
        Figure(
            "decide: a step of a flow of twenty, mean",
            sum(twenty) / len(twenty),
            "µs",
            60,
            note=f"steps 1 to 20: {steps}",
        ),
        Figure("decide: a step of a flow of twenty, dearest", max(twenty), "µs", note="it begins three steps at once"),
        Figure(
            "decide: steps 16 to 20 / steps 1 to 5", last / first, "times", 1.5, note="grows with what changed only"
        ),
        Figure("records: the instance in a saga of three, largest", max(one for one, _ in sizes) / 1024, "KiB", 1),
        Figure(
            "records: with messages still to be sent, largest",
            max(one + outbox for one, outbox in sizes) / 1024,
            "KiB",
            note="a command, and the journal entry with the input as it came",
        ),
    ]


def history(definition: Definition) -> Iterator[Step]:
    """Every state of one run, each with the outcome that comes next: steps are done in the order of their commands."""
    event = compose(Asked(id="run-1"), id="start", source="/bench", time=NOW, extensions={"correlationid": "c"})
    name = instance_id(definition.name, "run-1")
    decision = definition.start(event, instance_id=name, run=12345, now=NOW)
    waiting = _commands(decision)
    while waiting:
        outcome = answer(waiting.pop(0).event)
        state: Json = from_json(to_json(decision.state))
        yield state, outcome
        decision = definition.advance(state, outcome, now=NOW)
        waiting += _commands(decision)
    assert decision.status.is_final


def _commands(decision: Decision) -> list[Emission]:
    return [one for one in decision.messages if one.kind == "command"]


def answer(command: Envelope) -> Outcome:
    effect = command.get("effectid") or ""
    extensions = {"effectid": effect, "causationid": command.id}
    return Outcome(effect, compose(Did(note="x" * 40), id="r", source="/s", time=NOW, extensions=extensions))


async def records() -> list[tuple[int, int]]:
    """The records of one run of the saga, through a coordinator: bytes of the instance, and of its outbox."""
    async with running_in_memory(doers, three) as log, orchestra.connect(transport=log) as bus:
        await bus.publish(Asked(id="run-1"))
        async with asyncio.timeout(30):
            while not published(log, Ended):
                await asyncio.sleep(0.01)
        values = [
            each.value or b""
            for each in log.cluster.records("bench-three.state")
            if not (each.key or b"!").startswith(b"!")
        ]
    return [(len(instance), len(outbox)) for instance, _, outbox in (value.partition(b"\n") for value in values)]


def cost(definition: Definition, state: Json, given: Outcome | Occurred) -> float:
    """Microseconds of one decision. The event is read from the wire each time: what it remembers is not reused."""
    best = float("inf")
    gc.disable()
    try:
        for _ in range(ROUNDS):
            inputs = [_fresh(given) for _ in range(EACH)]
            begun = time.thread_time()
            for each in inputs:
                definition.advance(state, each, now=NOW)
            best = min(best, time.thread_time() - begun)
            gc.collect()
    finally:
        gc.enable()
    return best / EACH * 1e6


def _fresh(given: Outcome | Occurred) -> Outcome | Occurred:
    return given._replace(event=decode(*encode(given.event)))
