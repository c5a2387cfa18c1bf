"""Bad input on a real Kafka, through every layer.

Each ends in a dead letter, a journal entry or a clear answer, and the same partition goes on behind it. What happens to
each is told in ``docs/bad-input.md``.
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from orchestra.settings import Settings
from orchestra.testing.plugin import Kafka
from orchestra.transport.partitioner import partition_for
from tests.integration.bad_cases import cases, worker
from tests.integration.running import running

pytestmark = [pytest.mark.kafka, pytest.mark.asyncio(loop_scope="module")]

SHARDS = 4
LARGE = 8 * 1024 * 1024
WATCHED = (
    "bad.endings",
    "bad.questions",
    "bad.answers",
    "worker.dead-letters",
    "cases.dead-letters",
    "cases.journal",
    "cases.alerts",
)
STRUCTURED = [("content-type", b"application/cloudevents+json")]

Headers = list[tuple[str, bytes]]


def event(kind: str, **extensions: str) -> Headers:
    """The headers of a CloudEvent in binary mode."""
    attributes = {"specversion": "1.0", "id": uuid.uuid4().hex, "source": "/tests", "type": kind} | extensions
    return [
        *((f"ce_{name}", text.encode()) for name, text in attributes.items()),
        ("content-type", b"application/json"),
    ]


def changed(headers: Headers, name: str, value: bytes | None) -> Headers:
    """With another value of one header; None: without it."""
    return [(key, old if key != name else value) for key, old in headers if key != name or value is not None]


class Kept:
    """A record as it was seen."""

    def __init__(self, record: ConsumerRecord, namespace: str) -> None:
        self.topic = record.topic.removeprefix(f"{namespace}.")
        self.key = None if record.key is None else record.key.decode("utf-8", "replace")
        self.value = record.value
        self.headers = dict(record.headers)

    @property
    def data(self) -> Any:
        return json.loads(self.value)

    def text(self, header: str) -> str:
        return self.headers.get(header, b"").decode()

    @property
    def reason(self) -> str:
        return self.text("orchestra-dlq-reason")

    @property
    def type(self) -> str:
        return self.text("ce_type")


class Ward:
    """The running service and coordinator, a plain producer, and everything that came out."""

    def __init__(self, namespace: str, producer: AIOKafkaProducer) -> None:
        self.namespace = namespace
        self.seen: list[Kept] = []
        self._producer = producer

    async def put(
        self, topic: str, headers: Headers, value: bytes | None, *, key: str, partition: int | None = None
    ) -> None:
        name = f"{self.namespace}.{topic}"
        await self._producer.send_and_wait(name, value, key=key.encode(), headers=headers, partition=partition)

    async def open_case(self, what: str, *, partition: int = 0) -> str:
        """Start a case that goes as ``what`` says. Gives its key."""
        case = new_key()
        data = json.dumps({"case": case, "what": what}).encode()
        await self.put("bad.cases", event("bad.case.opened.v1"), data, key=case, partition=partition)
        return case

    async def ask(self) -> tuple[str, Kept]:
        """Start a question. Gives its key, and the command that waits for an answer."""
        case = new_key()
        data = json.dumps({"case": case}).encode()
        await self.put("bad.cases", event("bad.question.opened.v1"), data, key=case, partition=0)
        return case, await self.wait_for(lambda it: it.topic == "bad.questions" and it.key == case)

    async def answer(self, command: Kept, kind: str, data: object, *, partition: int | None = None) -> None:
        """An outcome, as any participant sends it."""
        names = ("flowid", "effectid", "correlationid")
        headers = event(kind, **{name: command.text(f"ce_{name}") for name in names})
        if partition is None:
            partition = int(command.text("ce_replypartition"))
        await self.put(
            "cases.inbox", headers, json.dumps(data).encode(), key=command.text("ce_flowid"), partition=partition
        )

    async def wait_for(self, wanted: Callable[[Kept], bool]) -> Kept:
        async with asyncio.timeout(20):
            while True:
                for kept in list(self.seen):
                    if wanted(kept):
                        return kept
                await asyncio.sleep(0.02)

    async def letter(self, topic: str, key: str) -> Kept:
        """The dead letter of that key."""
        return await self.wait_for(lambda it: it.topic == f"{topic}.dead-letters" and it.key == key)

    async def ending(self, case: str) -> Kept:
        return await self.wait_for(lambda it: it.topic == "bad.endings" and it.key == case)

    async def journal(self, flow: str, case: str, what: str) -> str:
        """The note of the journal line ``what`` of an instance."""
        instance = f"{flow}/{case}"

        def notes(kept: Kept) -> list[str]:
            if kept.topic != "cases.journal" or kept.data["instance"] != instance:
                return []
            return [line.get("note", "") for line in kept.data["lines"] if line["what"] == what]

        return notes(await self.wait_for(lambda it: bool(notes(it))))[0]

    async def alert(self, flow: str, case: str) -> str:
        """The code of an alert about an instance."""
        instance = f"{flow}/{case}"
        found = await self.wait_for(lambda it: it.topic == "cases.alerts" and it.data.get("instance") == instance)
        return str(found.data["code"])

    async def others_go_on(self, *, partition: int = 0, shard: int | None = None) -> None:
        """A case behind it, in the same partition of the topic (and the same shard), is closed."""
        case = new_key()
        while shard is not None and partition_for(f"case/{case}".encode(), SHARDS) != shard:
            case = new_key()
        await self.put(
            "bad.cases", event("bad.case.opened.v1"), b'{"case":"%b"}' % case.encode(), key=case, partition=partition
        )
        assert (await self.ending(case)).type == "bad.case.closed.v1"


def new_key() -> str:
    return uuid.uuid4().hex[:12]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("bad-cases") / "worker.db"
    os.environ["BAD_CASES_DATABASE"] = str(path)
    yield path
    del os.environ["BAD_CASES_DATABASE"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ward(kafka: Kafka, database: Path) -> AsyncIterator[Ward]:
    servers, namespace = kafka.bootstrap_servers, f"bad-{uuid.uuid4().hex[:8]}"
    settings = Settings(bootstrap_servers=servers, namespace=namespace, partitions=SHARDS)
    await create_topics(servers, namespace)
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", max_request_size=LARGE)
    watched = [f"{namespace}.{topic}" for topic in WATCHED]
    async with running(settings, worker, cases), producer:
        consumer = AIOKafkaConsumer(
            *watched, bootstrap_servers=servers, auto_offset_reset="earliest", max_partition_fetch_bytes=LARGE
        )
        async with consumer:
            here = Ward(namespace, producer)
            watching = asyncio.create_task(watch(consumer, here))
            yield here
            watching.cancel()
            await asyncio.wait({watching})


async def create_topics(servers: str, namespace: str) -> None:
    """The topics that orchestra would make otherwise, or not at all: one takes large records."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        large = NewTopic(f"{namespace}.bad.cases", SHARDS, 1, topic_configs={"max.message.bytes": str(LARGE)})
        answers = NewTopic(f"{namespace}.bad.answers", 1, 1)
        await admin.create_topics([large, answers])
        names = [large.name, answers.name]
        while any(topic["error_code"] for topic in await admin.describe_topics(names)):  # not yet heard of everywhere
            await asyncio.sleep(0.05)
    finally:
        await admin.close()


async def watch(consumer: AIOKafkaConsumer, ward: Ward) -> None:
    async for record in consumer:
        ward.seen.append(Kept(record, ward.namespace))


# ---- bytes that are no event


OPENED = event("bad.case.opened.v1")
DEEP = b"[" * 2000 + b"]" * 2000
UNREADABLE = {
    "not JSON": (STRUCTURED, b'{"specversion":"1.0","id":"1","sou'),
    "2,000 nested arrays as an event": (STRUCTURED, DEEP),
    "2,000 nested arrays in an event": (STRUCTURED, b'{"specversion":"1.0","id":"1","data":%b}' % DEEP),
    "missing ce_type": (changed(OPENED, "ce_type", None), b"{}"),
    "a NUL in a header": (changed(OPENED, "ce_type", b"bad.case\0.opened.v1"), b"{}"),
    "invalid UTF-8 in a header": (changed(OPENED, "ce_source", b"/\xff\xfe"), b"{}"),
    "invalid UTF-8 in a structured event": (STRUCTURED, b'{"specversion":"1.0","id":"\xff\xfe"}'),
    "a null value without attributes": ([], None),
}


@pytest.mark.parametrize("what", UNREADABLE)
async def test_what_is_no_event_is_a_dead_letter_of_each_reader_byte_for_byte(ward: Ward, what: str) -> None:
    headers, value = UNREADABLE[what]
    key = new_key()

    await ward.put("bad.cases", headers, value, key=key, partition=1)

    for reader in ("worker", "cases"):
        letter = await ward.letter(reader, key)
        assert letter.reason == "DECODE"
        assert letter.value == value
        assert letter.headers.items() >= dict(headers).items()
    await ward.others_go_on(partition=1)


# ---- events whose data is not what their type says


MISSHAPEN = {
    "JSON of the wrong shape": b'{"case": ["no", "text"]}',
    "an array": b"[1, 2]",
    "not JSON": b'{"case": "half',
    "2,000 nested arrays": DEEP,
    "invalid UTF-8": b'{"case": "\xff\xfe"}',
    "a null value with attributes": None,
}


@pytest.mark.parametrize("what", MISSHAPEN)
async def test_data_of_the_wrong_shape_is_a_dead_letter_of_each_reader(ward: Ward, what: str) -> None:
    key = new_key()

    await ward.put("bad.cases", event("bad.case.opened.v1"), MISSHAPEN[what], key=key, partition=1)

    assert (await ward.letter("worker", key)).reason == "DECODE"
    letter = await ward.letter("cases", key)
    assert letter.reason == "CONTRACT"
    assert letter.text("orchestra-dlq-error-message").startswith("data: not a valid CaseOpened")
    await ward.others_go_on(partition=1)


async def test_a_null_value_with_attributes_is_an_event_without_data(ward: Ward) -> None:
    bell = event("bad.bell.rang.v1")

    await ward.put("bad.cases", bell, None, key="bell")

    await ward.ending(dict(bell)["ce_id"].decode())


async def test_an_unknown_type_is_skipped_on_a_shared_topic(ward: Ward) -> None:
    key = new_key()

    await ward.put("bad.cases", event("somebody.elses.v1"), b"{}", key=key, partition=2)

    await ward.others_go_on(partition=2)
    assert not [kept for kept in ward.seen if kept.key == key]


async def test_an_unknown_type_is_a_dead_letter_on_the_services_own_topic(ward: Ward) -> None:
    key = new_key()

    await ward.put("bad.commands", event("bad.work.unheard-of.v1"), b"{}", key=key)

    assert (await ward.letter("worker", key)).reason == "UNKNOWN_TYPE"
    await ward.others_go_on()


async def test_5_mb_are_handled_where_the_topic_takes_them_and_pointed_to_where_it_does_not(ward: Ward) -> None:
    case = new_key()
    value = json.dumps({"case": case, "what": "x" * 5_000_000}).encode()

    await ward.put("bad.cases", event("bad.case.opened.v1"), value, key=case, partition=3)

    letter = await ward.letter("cases", f"case/{case}")
    assert letter.reason == "TOO_LARGE"
    assert letter.value is None
    assert letter.text("orchestra-dlq-payload") == "omitted"
    assert letter.text("ce_type") == "bad.case.opened.v1"
    await ward.others_go_on(partition=3)
    assert not [kept for kept in ward.seen if kept.topic == "worker.dead-letters" and kept.key == case]


# ---- commands


async def test_a_command_that_expired_is_refused(ward: Ward) -> None:
    effect = f"case/{new_key()}/0/work/action/0"
    late = event("bad.work.do.v1", expirytime="2020-01-01T00:00:00Z", **answer_to(ward, effect))

    await ward.put("bad.commands", late, b'{"case":"late"}', key="late")

    answer = await answer_of(ward, effect)
    assert answer.type == "orchestra.step.refused.v1"
    assert answer.data["reason"] == "expired"


async def test_an_undo_that_comes_before_its_action_bars_it(ward: Ward) -> None:
    instance = f"case/{new_key()}/0/work"
    undo, action = f"{instance}/undo/0", f"{instance}/action/0"

    await ward.put("bad.commands", event("bad.work.undo.v1", **answer_to(ward, undo)), b'{"case":"c"}', key="c")
    await ward.put("bad.commands", event("bad.work.do.v1", **answer_to(ward, action)), b'{"case":"c"}', key="c")

    assert (await answer_of(ward, undo)).type == "bad.work.undone.v1"
    refused = await answer_of(ward, action)
    assert refused.type == "orchestra.step.refused.v1"
    assert refused.data["reason"] == "barred"


def answer_to(ward: Ward, effect: str) -> dict[str, str]:
    """Attributes of a command that is answered on a topic of the tests."""
    return {
        "effectid": effect,
        "flowid": effect.rsplit("/", 4)[0],
        "correlationid": "c-1",
        "replyto": f"{ward.namespace}.bad.answers",
        "replypartition": "0",
    }


async def answer_of(ward: Ward, effect: str) -> Kept:
    return await ward.wait_for(lambda it: it.topic == "bad.answers" and it.text("ce_effectid") == effect)


HANDLERS = {"handler raises": "TRANSIENT", "handler hangs": "TIMEOUT", "handler answers wrongly": "CONTRACT"}


@pytest.mark.parametrize("what", HANDLERS)
async def test_a_handler_that_fails_is_a_dead_letter_and_its_flow_is_told(ward: Ward, what: str) -> None:
    case = await ward.open_case(what)

    letter = await ward.letter("worker", case)
    assert letter.reason == HANDLERS[what]
    assert letter.type == "bad.work.do.v1"
    ending = await ward.ending(case)
    assert ending.type == "bad.case.failed.v1"
    await ward.others_go_on()


# ---- outcomes


async def test_an_outcome_for_an_instance_that_never_was_is_a_dead_letter(ward: Ward) -> None:
    case = new_key()
    instance = f"case/{case}"
    shard = partition_for(instance.encode(), SHARDS)
    outcome = event("bad.work.done.v1", flowid=instance, effectid=f"{instance}/0/work/action/0")

    await ward.put("cases.inbox", outcome, b"{}", key=instance, partition=shard)

    assert (await ward.letter("cases", instance)).reason == "UNKNOWN_INSTANCE"
    await ward.others_go_on(shard=shard)


async def test_an_outcome_on_the_wrong_partition_is_forwarded(ward: Ward) -> None:
    case, command = await ward.ask()
    right = int(command.text("ce_replypartition"))

    await ward.answer(command, "bad.question.answered.v1", {"text": "yes"}, partition=(right + 1) % SHARDS)

    assert (await ward.ending(case)).type == "bad.case.closed.v1"
    await ward.others_go_on(shard=(right + 1) % SHARDS)


async def test_an_outcome_of_a_step_that_is_not_running_is_journaled_and_changes_nothing(ward: Ward) -> None:
    case, command = await ward.ask()
    other = Kept.__new__(Kept)
    other.headers = command.headers | {"ce_effectid": command.headers["ce_effectid"].replace(b"/ask/", b"/judge/")}

    await ward.answer(other, "bad.question.answered.v1", {"text": "nobody asked"})

    assert "/judge/" in await ward.journal("question", case, "outcome.unknown")
    await ward.answer(command, "bad.question.answered.v1", {"text": "yes"})
    assert (await ward.ending(case)).type == "bad.case.closed.v1"


async def test_a_reply_of_the_wrong_type_is_journaled_with_an_alert_and_the_step_waits_on(ward: Ward) -> None:
    case, command = await ward.ask()

    await ward.answer(command, "bad.work.done.v1", {})

    assert await ward.alert("question", case) == "outcome.unexpected"
    await ward.answer(command, "bad.question.answered.v1", {"text": "yes"})
    assert (await ward.ending(case)).type == "bad.case.closed.v1"


async def test_a_reply_with_data_of_the_wrong_shape_is_a_dead_letter_and_the_step_waits_on(ward: Ward) -> None:
    case, command = await ward.ask()

    await ward.answer(command, "bad.question.answered.v1", {"text": ["not", "text"]})

    assert (await ward.letter("cases", f"question/{case}")).reason == "CONTRACT"
    assert "text" in await ward.journal("question", case, "input.rejected")
    await ward.answer(command, "bad.question.answered.v1", {"text": "yes"})
    assert (await ward.ending(case)).type == "bad.case.closed.v1"


async def test_bytes_on_the_inbox_that_are_no_outcome_are_dead_letters(ward: Ward) -> None:
    garbage, answer_to_nothing = new_key(), new_key()

    await ward.put("cases.inbox", [], b"\x00\xff", key=garbage, partition=1)
    await ward.put("cases.inbox", event("bad.work.done.v1"), b"{}", key=answer_to_nothing, partition=1)

    assert (await ward.letter("cases", garbage)).reason == "DECODE"
    assert (await ward.letter("cases", answer_to_nothing)).reason == "CONTRACT"
    await ward.others_go_on(shard=1)


# ---- instances


async def test_the_same_start_with_other_content_is_reported_and_not_merged(ward: Ward) -> None:
    case, command = await ward.ask()
    other = json.dumps({"case": case, "surplus": 1}).encode()
    await ward.put("bad.cases", event("bad.question.opened.v1"), other, key=case, partition=0)
    assert "same content" in await ward.journal("question", case, "start.repeated")  # what no field holds is no content

    finished = await ward.open_case("fine")
    await ward.ending(finished)
    different = json.dumps({"case": finished, "what": "handler raises"}).encode()
    await ward.put("bad.cases", event("bad.case.opened.v1"), different, key=finished, partition=0)

    assert "another content" in await ward.journal("case", finished, "start.differs")
    assert await ward.alert("case", finished) == "start.differs"
    await ward.answer(command, "bad.question.answered.v1", {"text": "yes"})
    assert (await ward.ending(case)).type == "bad.case.closed.v1"


async def test_an_outcome_that_would_make_an_instance_too_large_parks_it_by_its_place_in_the_inbox(ward: Ward) -> None:
    case = await ward.open_case("reply is too large")

    note = await ward.journal("case", case, "instance.parked")
    assert "inbox offset" in note
    assert await ward.alert("case", case) == "instance.too_large"
    await ward.others_go_on(shard=partition_for(f"case/{case}".encode(), SHARDS))


async def test_a_flow_method_that_raises_parks_its_instance_with_the_traceback(ward: Ward) -> None:
    case = await ward.open_case("flow raises")

    note = await ward.journal("case", case, "instance.parked")
    assert "RuntimeError: this flow has a mistake" in note
    assert await ward.alert("case", case) == "flow.raised"
    await ward.others_go_on(shard=partition_for(f"case/{case}".encode(), SHARDS))


# ---- events for instances


async def knock(ward: Ward, case: str, **data: object) -> None:
    value = json.dumps({"case": case, **data}).encode()
    await ward.put("bad.cases", event("bad.knocked.v1"), value, key=case, partition=0)


async def test_an_event_for_an_instance_that_never_starts_is_a_dead_letter_after_a_while(ward: Ward) -> None:
    case = new_key()

    await knock(ward, case)

    assert "the instance has not started" in await ward.journal("visit", case, "event.early")
    assert (await ward.letter("cases", f"visit/{case}")).reason == "UNKNOWN_INSTANCE"
    await ward.others_go_on(shard=partition_for(f"visit/{case}".encode(), SHARDS))


async def test_an_event_that_comes_before_its_start_is_kept_and_one_that_comes_late_is_journaled(ward: Ward) -> None:
    case = new_key()
    await knock(ward, case)
    data = json.dumps({"case": case}).encode()
    await ward.put("bad.cases", event("bad.visit.opened.v1"), data, key=case, partition=0)
    assert (await ward.ending(case)).type == "bad.case.closed.v1"

    await knock(ward, case)

    assert "completed" in await ward.journal("visit", case, "event.late")


async def test_an_event_of_the_wrong_shape_is_a_dead_letter_and_the_wait_goes_on(ward: Ward) -> None:
    case = new_key()
    data = json.dumps({"case": case}).encode()
    await ward.put("bad.cases", event("bad.visit.opened.v1"), data, key=case, partition=0)

    await knock(ward, case, times="often")

    assert (await ward.letter("cases", case)).reason == "CONTRACT"
    await knock(ward, case)
    assert (await ward.ending(case)).type == "bad.case.closed.v1"


@pytest.mark.parametrize(
    ("topic", "number"),
    [("no.such.topic", 7), ("bad.answers", 7), ("bad.answers", -1), ("no topic!", 0), ("x" * 300, 0)],
)
async def test_an_answer_that_can_go_nowhere_is_given_up_with_an_alert(ward: Ward, topic: str, number: int) -> None:
    case = new_key()
    caller = json.dumps(["case", f"ask-{case}", f"{ward.namespace}.{topic}", number]).encode()
    headers = [*event("bad.case.opened.v1"), ("orchestra-caller", caller)]

    await ward.put("bad.cases", headers, json.dumps({"case": case}).encode(), key=case, partition=0)

    assert (await ward.ending(case)).type == "bad.case.closed.v1"
    await ward.wait_for(lambda it: it.topic == "cases.alerts" and f"case/{case}" in str(it.data.get("note")))
    await ward.others_go_on(shard=partition_for(f"case/{case}".encode(), SHARDS))


async def test_a_caller_that_nobody_can_read_does_not_keep_an_event_from_starting_its_flow(ward: Ward) -> None:
    case = new_key()
    headers = [*event("bad.case.opened.v1"), ("orchestra-caller", b"\xff{")]

    await ward.put("bad.cases", headers, json.dumps({"case": case}).encode(), key=case, partition=0)

    assert (await ward.ending(case)).type == "bad.case.closed.v1"
