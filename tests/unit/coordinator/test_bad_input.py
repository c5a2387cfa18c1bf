"""What nobody should send: each ends in a dead letter, a journal entry or an alert, and the other keys go on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest

from orchestra.coordinator import advance
from orchestra.coordinator.record import Given
from orchestra.events.cloudevents import encode
from orchestra.events.envelope import Envelope
from orchestra.transport.memory import Fate
from orchestra.transport.partitioner import partition_for
from orchestra.transport.port import Outgoing, Record, TopicSpec
from tests.unit.coordinator.harness import NAMES, World, always, reply_to, world
from tests.unit.coordinator.tiny_flow import (
    DONE,
    REJECTED,
    TOPIC,
    TinyFlow,
    operator_record,
    outcome_record,
    start_event,
    start_record,
)

pytestmark = pytest.mark.virtual_time

HEADERS = encode(start_event("x"))[0]
NEVER = Fate(stored=False, acknowledged=False)


def letters(w: World) -> list[tuple[str, str]]:
    """Reason and message of each dead letter."""
    return [
        (text(each, "orchestra-dlq-reason"), text(each, "orchestra-dlq-error-message")) for each in w.dead_letters()
    ]


def text(record: Record, name: str) -> str:
    return (record.header(name) or b"").decode()


async def others_go_on(w: World) -> None:
    await w.place("good")
    await w.until(lambda: "tiny/good" in w.completed())


# ---- on the team's topic: the router


@pytest.mark.parametrize(
    ("headers", "value", "reason", "note"),
    [
        (HEADERS, b"not json", "CONTRACT", "data"),
        (HEADERS, b'{"no":"key"}', "CONTRACT", "data: no key"),
        (HEADERS, b"[1, 2]", "CONTRACT", "data: no key"),
        (HEADERS, None, "CONTRACT", "data: no key"),
        ((), None, "DECODE", "specversion: is missing"),
        ((), b'{"key":"o1"}', "DECODE", "specversion: is missing"),
        ([each for each in HEADERS if each[0] != "ce_type"], b"{}", "DECODE", "type: is missing"),
        ([*HEADERS, ("ce_subject", b"a\x00b")], b"{}", "DECODE", "subject: holds a control character"),
        ([*HEADERS, ("ce_subject", b"\xff")], b"{}", "DECODE", "subject: is not UTF-8"),
        ([("ce_specversion", b"0.3")], b"{}", "DECODE", "specversion: is '0.3'"),
        ([("content-type", b"application/cloudevents+json")], b"[" * 2000, "DECODE", "value: is not JSON"),
        (HEADERS, b"[" * 2000, "CONTRACT", ""),  # which of its limits json.loads meets differs between Pythons
    ],
    ids=[
        "not JSON",
        "JSON of the wrong shape",
        "JSON that is no object",
        "a null value with attributes",
        "a null value without attributes",
        "no CloudEvent",
        "no ce_type",
        "a NUL in a header",
        "invalid UTF-8 in a header",
        "another spec version",
        "a structured event that is no JSON",
        "2,000 nested arrays",
    ],
)
async def test_an_event_that_cannot_start_anything_is_a_dead_letter(
    headers: Sequence[tuple[str, bytes]], value: bytes | None, reason: str, note: str
) -> None:
    async with world() as w:
        await w.process()

        await w.send(Outgoing(TOPIC, b"bad", value, headers))

        await others_go_on(w)
        [(found, message)] = letters(w)
        assert found == reason
        assert message.startswith(note)
        [letter] = w.dead_letters()
        assert (letter.key, letter.value) == (b"bad", value)
        assert list(letter.headers[: len(headers)]) == list(headers)


async def test_a_type_that_starts_nothing_is_skipped_and_counted() -> None:
    async with world() as w:
        process = await w.process()
        headers, value = encode(start_event("o1").evolve(type="tiny.order.viewed.v1"))

        await w.send(Outgoing(TOPIC, b"o1", value, headers))

        await others_go_on(w)
        assert letters(w) == []
        assert process.runtime.statistics()["router"]["skipped"] == 1


async def test_an_event_too_large_for_the_inbox_is_a_dead_letter_without_its_payload() -> None:
    async with world() as w:
        w.cluster.delete(TOPIC)
        w.cluster.create(TopicSpec(TOPIC, 1, {"max.message.bytes": "9000000"}))
        await w.process()
        headers, _ = encode(start_event("o1"))
        value = json.dumps({"key": "o1", "pad": "x" * 5_000_000}).encode()

        await w.send(Outgoing(TOPIC, b"o1", value, headers))

        await others_go_on(w)
        [letter] = w.dead_letters()
        assert text(letter, "orchestra-dlq-reason") == "TOO_LARGE"
        assert letter.value is None
        assert text(letter, "orchestra-dlq-payload") == "omitted"


# ---- in the inbox


@pytest.mark.parametrize(
    ("record", "reason", "note"),
    [
        (Record("", 0, 0, 0, b"x", b"junk"), "DECODE", "specversion: is missing"),
        (Record("", 0, 0, 0, b"x", None), "DECODE", "specversion: is missing"),
        (Record("", 0, 0, 0, b"x", b"{}", HEADERS), "CONTRACT", "effectid: is missing"),
        (outcome_record("nonsense", 0), "CONTRACT", "effectid: 'nonsense' is not an effect id"),
        (outcome_record("a/b/c/d/e/f/g/h", 0), "CONTRACT", "effectid"),
        (outcome_record("tiny/never/0/a1/action/0", 0), "UNKNOWN_INSTANCE", "record: no instance tiny/never"),
        (start_record("o1", 0, flow=""), "CONTRACT", "orchestra-instance: b'/o1' is not an instance id"),
        (start_record("o1", 0, flow="tiny", key="o2"), "CONTRACT", "data: its key is not that of instance tiny/o1"),
        (operator_record("tiny/never", 0, "cancel"), "UNKNOWN_INSTANCE", "record: no instance tiny/never"),
        (operator_record("tiny/never", 0, "explode"), "CONTRACT", "data: not an operator's request: action"),
    ],
    ids=[
        "no CloudEvent",
        "a null value without attributes",
        "no effect id",
        "no such effect id",
        "an effect id with too many parts",
        "an outcome for an instance that never was",
        "a start of nothing",
        "a start for another key",
        "an operator's request for an instance that never was",
        "an operator's request for what does not exist",
    ],
)
async def test_an_inbox_record_for_nobody_is_a_dead_letter(record: Record, reason: str, note: str) -> None:
    async with world() as w:
        await w.process()
        if "orchestra-instance: " in note or "its key" in note:
            record = renamed(record)

        await w.put(record)

        await others_go_on(w)
        [(found, message)] = letters(w)
        assert found == reason
        assert note.removeprefix("record: ") in message
        [letter] = w.dead_letters()
        assert (letter.key, letter.value) == (record.key, record.value)


def renamed(record: Record) -> Record:
    return Record("", 0, 0, 0, record.key, record.value, record.headers)


async def test_a_dead_letter_that_is_not_stored_yet_is_not_lost_by_a_crash() -> None:
    async with world() as w:
        process = await w.process()
        w.cluster.rules.append(lambda write: NEVER if write.partition.topic == NAMES.dead_letters else None)
        await w.put(outcome_record("tiny/never/0/a1/action/0", 0))
        await w.place("o1")
        await w.until(lambda: process.runtime.statistics()["router"]["routed"] == 1)
        await asyncio.sleep(1)
        assert w.instance("tiny/o1") is None  # nothing behind it is taken in before it is stored
        await process.crash()
        w.cluster.rules.clear()

        await w.process()

        await w.until(lambda: len(letters(w)) == 1)
        await w.until(lambda: "tiny/o1" in w.completed())


async def test_an_outcome_on_the_wrong_partition_is_forwarded() -> None:
    async with world(partitions=4) as w:
        await w.process()
        w.answer = lambda _: None
        await w.place("o1")
        await w.until(lambda: len(w.commands) == 1)
        wrong = (partition_for(b"tiny/o1", 4) + 1) % 4
        reply = reply_to(w.commands[0])

        await w.send(Outgoing(reply.topic, reply.key, reply.value, reply.headers, wrong))

        await w.until(lambda: w.steps("o1") == ["a1", "a2"])
        assert letters(w) == []


async def test_an_outcome_of_a_step_that_is_not_running_is_journaled() -> None:
    async with world() as w:
        await w.process()
        w.answer = lambda _: None
        await w.place("o1")
        await w.until(lambda: len(w.commands) == 1)

        await w.put(outcome_record(effect_of(w, "a2"), 0))

        await w.until(lambda: "input.ignored" in w.said("tiny/o1"))
        await others_go_on_with(w)
        assert w.steps("o1") == ["a1"]


async def test_an_outcome_that_comes_twice_counts_once() -> None:
    async with world() as w:
        await w.process()
        w.answer = lambda _: None
        await w.place("o1")
        await w.until(lambda: len(w.commands) == 1)

        await w.send(reply_to(w.commands[0]), reply_to(w.commands[0]))

        await w.until(lambda: "input.ignored" in w.said("tiny/o1"))
        assert w.steps("o1") == ["a1", "a2"]


async def test_an_outcome_of_a_finished_instance_is_journaled() -> None:
    async with world() as w:
        await w.process()
        await w.place("o1")
        await w.until(lambda: "tiny/o1" in w.completed())

        await w.send(reply_to(w.commands[0]))

        await w.until(lambda: w.said("tiny/o1")[-1:] == ["input.ignored"])
        assert letters(w) == []


async def test_an_outcome_whose_data_is_not_valid_is_a_dead_letter_and_the_step_goes_on_waiting() -> None:
    async with world() as w:
        await w.process()
        w.answer = lambda _: None
        await w.place("o1")
        await w.until(lambda: len(w.commands) == 1)

        await w.send(reply_to(w.commands[0], data=b"not json"))
        await w.until(lambda: [reason for reason, _ in letters(w)] == ["CONTRACT"])
        await w.send(reply_to(w.commands[0]))

        await w.until(lambda: w.steps("o1") == ["a1", "a2"])
        assert "input.rejected" in w.said("tiny/o1")


async def test_the_same_start_twice_is_one_instance() -> None:
    async with world() as w:
        await w.process()

        await w.place("o1")
        await w.place("o1")

        await w.until(lambda: "tiny/o1" in w.completed() and "start.repeated" in w.said("tiny/o1"))
        assert w.steps("o1") == ["a1", "a2"]
        assert w.alerts() == []


@pytest.mark.parametrize("finished", [False, True])
async def test_the_same_key_with_other_content_is_reported_and_not_merged(finished: bool) -> None:
    async with world() as w:
        await w.process()
        w.answer = always if finished else (lambda _: None)
        await w.place("o1")
        await w.until(lambda: bool(w.completed()) if finished else len(w.commands) == 1)

        await w.place("o1", other="content")

        await w.until(lambda: w.alerts() == ["start.differs"])
        assert "start.differs" in w.said("tiny/o1")


# ---- what a flow does


async def test_a_flow_method_that_raises_parks_its_instance_and_no_other() -> None:
    async with world() as w:
        await w.process()

        await w.place("bad", **{"raise": "kaboom"})

        await w.until(lambda: w.statuses()["parked"] == 1)
        await others_go_on(w)
        assert w.alerts() == ["flow.raised"]
        [entry] = w.journal("tiny/bad")
        assert "RuntimeError: kaboom" in str(entry["lines"])
        assert "Traceback" in str(entry["lines"])


async def test_a_flow_method_that_raises_on_an_outcome_keeps_state_and_outcome_for_an_operator() -> None:
    async with world() as w:
        await w.process()
        w.answer = lambda _: None
        await w.place("o1")
        await w.until(lambda: len(w.commands) == 1)
        await w.send(reply_to(w.commands[0], data=b'{"raise": "kaboom"}'))
        await w.until(lambda: w.statuses()["parked"] == 1)
        await w.send(reply_to(w.commands[0]))
        await w.until(lambda: len(parked_inputs(w, "tiny/o1")) == 2)

        await w.put(operator_record("tiny/o1", 0, "retry"))
        await w.until(lambda: w.said("tiny/o1").count("instance.parked") == 2)
        await w.put(operator_record("tiny/o1", 0, "skip"))

        await w.until(lambda: w.steps("o1") == ["a1", "a2"])  # without the first, with the second
        assert parked_inputs(w, "tiny/o1") == []


async def test_an_operator_may_cancel_a_parked_instance() -> None:
    async with world() as w:
        await w.process()
        w.answer = lambda command: None if command.get("flowstep") == "a1" else DONE
        await w.place("o1")
        await w.until(lambda: len(w.commands) == 1)
        await w.send(reply_to(w.commands[0], data=b'{"raise": "kaboom"}'))
        await w.until(lambda: w.statuses()["parked"] == 1)

        await w.put(operator_record("tiny/o1", 0, "cancel"))

        await w.until(lambda: w.statuses()["compensated"] == 1)
        assert w.steps("o1") == ["a1", "c1"]


async def test_an_instance_that_grows_too_large_is_parked_with_the_place_of_its_input() -> None:
    async with world() as w:
        await w.process(instance_bytes=20_000, outcome_bytes=10_000)
        w.answer = lambda _: None
        await w.place("o1")
        await w.until(lambda: len(w.commands) == 1)

        await w.send(reply_to(w.commands[0], data=b'{"grow": 30000}'))

        await w.until(lambda: w.statuses()["parked"] == 1)
        w.answer = always
        await others_go_on(w)
        assert w.alerts() == ["instance.too_large"]
        [given] = parked_inputs(w, "tiny/o1")
        assert (given.kind, given.offset, given.omitted) == ("outcome", 1, True)
        assert all(len(record.value or b"") < 30_000 for record in w.cluster.records(NAMES.state))


async def test_an_outcome_that_is_too_large_parks_its_instance() -> None:
    async with world() as w:
        await w.process(outcome_bytes=10_000)
        w.answer = lambda _: None
        await w.place("o1")
        await w.until(lambda: len(w.commands) == 1)

        await w.send(reply_to(w.commands[0], data=json.dumps({"pad": "x" * 20_000}).encode()))

        await w.until(lambda: w.alerts() == ["instance.too_large"])
        instance = w.instance("tiny/o1")
        assert instance is not None
        assert instance.state is not None
        assert instance.state["at"] == "a1"


async def test_a_start_too_large_for_an_instance_is_parked_without_its_data() -> None:
    async with world() as w:
        await w.process(instance_bytes=20_000, outcome_bytes=10_000)

        await w.place("o1", pad="x" * 30_000)

        await w.until(lambda: w.statuses()["parked"] == 1)
        await others_go_on(w)
        assert w.alerts() == ["instance.too_large"]


async def test_inputs_of_a_parked_instance_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advance, "MAX_WAITING", 20)
    async with world() as w:
        await w.process()
        await w.place("o1", **{"raise": "kaboom"})
        await w.until(lambda: w.statuses()["parked"] == 1)

        effect = f"tiny/o1/{run_of(w, 'tiny/o1')}/a1/action/0"
        for number in range(25):
            await w.put(outcome_record(effect, number))

        await w.until(lambda: len(letters(w)) == 6)
        assert {reason for reason, _ in letters(w)} == {"PARKED_FULL"}
        await others_go_on(w)


async def test_a_slow_flow_method_is_told() -> None:
    async with world() as w:
        process = await w.process()
        await w.until(lambda: process.runtime.keepers[0].is_open if process.runtime.keepers else False)
        shard = process.shard()
        receive = shard.receive

        def slowly(*given: object) -> None:
            asyncio.get_running_loop().jump(0.2)  # type: ignore[attr-defined]
            receive(*given)

        shard.receive = slowly

        await w.place("o1")

        await w.until(lambda: "flow.slow" in w.alerts())


async def test_a_rejection_ends_the_instance() -> None:
    async with world() as w:
        await w.process()
        w.answer = lambda _: REJECTED

        await w.place("o1")

        await w.until(lambda: w.statuses()["compensated"] == 1)


async def test_a_start_of_a_flow_that_is_not_here_waits_for_it() -> None:
    async with world() as w:
        first = await w.process(TinyFlow(name="other", starts_on={}))
        await w.put(start_record("o1", 0))
        await w.until(lambda: w.statuses()["parked"] == 1)
        await w.put(start_record("o1", 0))
        await w.put(start_record("o1", 0, other="content"))
        await w.until(lambda: len(parked_inputs(w, "tiny/o1")) == 3)
        await first.stop()

        await w.process()

        await w.until(lambda: "tiny/o1" in w.completed())
        assert w.steps("o1") == ["a1", "a2"]
        assert sorted(w.alerts()) == ["start.differs", "version.missing"]


# ---- looking


def parked_inputs(w: World, instance: str) -> list[Given]:
    found = w.instance(instance)
    return list(found.inputs) if found is not None else []


def effect_of(w: World, step: str) -> str:
    """The effect id of another step of the instance that the first command is for."""
    effect = w.commands[0].get("effectid") or ""
    instance, run, _, phase, iteration = effect.rsplit("/", 4)
    return "/".join((instance, run, step, phase, iteration))


def run_of(w: World, instance: str) -> int:
    found = w.instance(instance)
    assert found is not None
    return found.run


async def others_go_on_with(w: World) -> None:
    w.answer = always
    await others_go_on(w)


async def test_a_validator_that_raises_something_else_is_no_reason_to_stop() -> None:
    class Fussy(TinyFlow):
        """Refuses some keys in its own way."""

        __slots__ = ()

        def start_digest(self, event: Envelope) -> str:
            if b"bad" in (event.data or b""):
                raise ZeroDivisionError("by its validator")
            return super().start_digest(event)

    async with world() as w:
        await w.process(Fussy())

        await w.place("bad")

        await w.until(lambda: w.statuses()["parked"] == 1)
        await others_go_on(w)
        assert "ZeroDivisionError" in str(w.journal("tiny/bad"))
