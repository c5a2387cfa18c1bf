"""Whatever comes in: it ends in a dead letter or is skipped and counted, the process lives, and other keys go on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestra.service.context import Context
from orchestra.service.service import Service
from orchestra.transport.port import Headers, Outgoing, TopicSpec
from tests.unit.service.rig import Placed, Reserve, Reserved, Rig, SoldOut

pytestmark = pytest.mark.virtual_time

EVENT: Headers = (
    ("ce_specversion", b"1.0"),
    ("ce_id", b"1"),
    ("ce_source", b"/bad"),
    ("ce_type", b"stock.reserve.v1"),
    ("content-type", b"application/json"),
)


def having(**changes: bytes | None) -> Headers:
    """The headers of a good command, with some changed; None leaves one out."""
    kept = dict(EVENT)
    kept.update({name.replace("content_type", "content-type"): value for name, value in changes.items()})
    return tuple((name, value) for name, value in kept.items() if value is not None)


class BadInput:
    """A service of commands and events, and one bad record among good ones."""

    def __init__(self) -> None:
        self.rig = Rig()
        self.handled: list[str] = []
        self.service = Service("stock")

        @self.service.handles(Reserve)
        async def reserve(command: Reserve, ctx: Context) -> Reserved | SoldOut:
            self.handled.append(command.order_id)
            return Reserved(order_id=command.order_id)

        @self.service.on(Placed)
        async def placed(event: Placed) -> None:
            self.handled.append(event.order_id)

    async def send(self, topic: str, headers: Headers, value: bytes | None) -> list[dict[str, str]]:
        """Send it between two good records of its key and of another. Gives the dead letters."""
        good = Placed if topic == "shop.orders" else Reserve
        async with self.rig.running(self.service) as process:
            await self.rig.send(good(order_id="bad"), good(order_id="other"))
            await self.rig.put(Outgoing(topic, b"bad", value, headers))
            await self.rig.send(good(order_id="bad"), good(order_id="other"))
            await process.idle()
            self.skipped = process.runtime.statistics().skipped
        assert sorted(self.handled) == ["bad", "bad", "other", "other"], "the good records, before and after"
        assert self.rig.lag(topic) == 0
        return self.rig.letters()


DEEP = b'{"order_id":' + b"[" * 2000 + b"]" * 2000 + b"}"
BAD = {
    "not JSON": (EVENT, b"order 7, please", "DECODE", "data"),
    "JSON of the wrong shape": (EVENT, b'{"order_id": ["7"]}', "DECODE", "order_id"),
    "JSON, but no object": (EVENT, b"[]", "DECODE", "data"),
    "2,000 nested arrays": (EVENT, DEEP, "DECODE", "data"),
    "invalid UTF-8 in the data": (EVENT, b'{"order_id": "\xff\xfe"}', "DECODE", "data"),
    "null value with attributes": (EVENT, None, "DECODE", "order_id"),
    "null value without attributes": ((), None, "DECODE", "specversion"),
    "no attributes at all": ((), b'{"order_id": "7"}', "DECODE", "specversion"),
    "missing ce_type": (having(ce_type=None), b'{"order_id": "7"}', "DECODE", "type"),
    "missing ce_id": (having(ce_id=None), b'{"order_id": "7"}', "DECODE", "id"),
    "wrong specversion": (having(ce_specversion=b"0.3"), b'{"order_id": "7"}', "DECODE", "specversion"),
    "NUL in a header": (having(ce_subject=b"a\x00b"), b'{"order_id": "7"}', "DECODE", "subject"),
    "invalid UTF-8 in a header": (having(ce_source=b"\xff\xfe"), b'{"order_id": "7"}', "DECODE", "source"),
    "batched mode": (having(content_type=b"application/cloudevents-batch+json"), b"[]", "DECODE", "content-type"),
    "data that is not JSON by its own word": (having(content_type=b"text/xml"), b"<a/>", "DECODE", "datacontenttype"),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_record_on_the_own_command_topic_is_dead_lettered_unchanged(name: str) -> None:
    headers, value, reason, names = BAD[name]

    bad = BadInput()
    [letter] = await bad.send("stock.commands", headers, value)

    assert letter["reason"] == reason
    assert names in letter["error-message"]
    [record] = bad.rig.records("stock.dead-letters")
    assert (record.key, record.value) == (b"bad", value)
    assert tuple(record.headers)[: len(headers)] == tuple(headers)
    [source] = [each for each in bad.rig.records("stock.commands") if tuple(each.headers) == tuple(headers)]
    assert letter["id"] == f"stock/stock.commands/{source.partition}/{source.offset}"
    assert record.timestamp_ms == source.timestamp_ms


@pytest.mark.parametrize("name", BAD)
async def test_bad_record_on_a_shared_event_topic_is_dead_lettered_by_who_handles_the_topic(name: str) -> None:
    headers, value, reason, _ = BAD[name]
    headers = tuple((name, b"shop.placed.v1" if name == "ce_type" else value) for name, value in headers)

    [letter] = await BadInput().send("shop.orders", headers, value)

    assert letter["reason"] == reason


async def test_unknown_type_on_the_own_command_topic_is_dead_lettered() -> None:
    [letter] = await BadInput().send("stock.commands", having(ce_type=b"stock.destroy.v1"), b"{}")

    assert letter["reason"] == "UNKNOWN_TYPE"
    assert "stock.destroy.v1" in letter["error-message"]


async def test_unknown_command_of_a_flow_is_answered_as_failed() -> None:
    bad = BadInput()
    flow = (("ce_flowid", b"food/7"), ("ce_effectid", b"food/7/1/x/action/0"), ("ce_replyto", b"food.inbox"))

    await bad.send("stock.commands", (*having(ce_type=b"stock.destroy.v1"), *flow), b"{}")

    [answer] = bad.rig.answers()
    assert (answer.type, answer.get("effectid")) == ("orchestra.step.failed.v1", "food/7/1/x/action/0")


async def test_command_with_bad_data_is_answered_as_failed() -> None:
    bad = BadInput()
    flow = (("ce_flowid", b"food/7"), ("ce_effectid", b"food/7/1/x/action/0"), ("ce_replyto", b"food.inbox"))

    await bad.send("stock.commands", (*EVENT, *flow), b"{}")

    assert [answer.type for answer in bad.rig.answers()] == ["orchestra.step.failed.v1"]


async def test_type_that_nobody_subscribed_to_on_a_shared_topic_is_skipped_and_counted() -> None:
    bad = BadInput()

    letters = await bad.send("shop.orders", having(ce_type=b"shop.order.gift-wrapped.v1"), b"whatever it is")

    assert letters == []
    assert bad.skipped == 1


async def test_value_of_5_mb_is_handled_or_dead_lettered_like_any_other() -> None:
    bad = BadInput()
    for topic in ("stock.commands", "stock.dead-letters"):
        bad.rig.cluster.create(TopicSpec(topic, config={"max.message.bytes": str(8 << 20)}))
    value = b'{"order_id": "7", "padding": "%s"' % (b"x" * (5 << 20))

    [letter] = await bad.send("stock.commands", EVENT, value)

    assert letter["reason"] == "DECODE"
    [record] = bad.rig.records("stock.dead-letters")
    assert record.value == value


async def test_dead_letter_that_is_too_large_for_its_topic_points_to_its_source() -> None:
    bad = BadInput()
    bad.rig.cluster.create(TopicSpec("stock.commands", config={"max.message.bytes": str(8 << 20)}))

    [letter] = await bad.send("stock.commands", EVENT, b"x" * (5 << 20))

    assert letter["payload"] == "omitted"
    [record] = bad.rig.records("stock.dead-letters")
    assert record.value is None
    assert letter["source-topic"] == "stock.commands"


async def test_dead_letter_whose_headers_are_too_large_keeps_its_reasons() -> None:
    bad = BadInput()
    bad.rig.cluster.create(TopicSpec("stock.commands", config={"max.message.bytes": str(8 << 20)}))

    [letter] = await bad.send("stock.commands", (("x", b"x" * (2 << 20)),), b"{}")

    assert letter["payload"] == "omitted with its headers"
    assert letter["reason"] == "DECODE"


@pytest.mark.parametrize("make", [lambda: "no number", lambda: "-1", lambda: "99999"])
async def test_replypartition_that_cannot_be_is_no_reason_to_stop(make: Callable[[], str]) -> None:
    bad = BadInput()
    flow = (("ce_effectid", b"e"), ("ce_replyto", b"food.inbox"), ("ce_replypartition", make().encode()))

    await bad.send("stock.commands", (*EVENT, *flow), b"{}")
