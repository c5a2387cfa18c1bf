"""Is what a coordinator has recorded run once more, through the same version and through others?"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from orchestra.coordinator.instances import read_journal
from orchestra.errors import DecodeError
from orchestra.flows.decide import CompiledFlow
from orchestra.flows.decision import Definition
from orchestra.flows.graph import StepNode
from orchestra.flows.histories import Compared, History, compare, read_histories
from orchestra.flows.saga import graph_of
from tests.unit.coordinator.harness import NAMES, World, always, reply_to, world
from tests.unit.coordinator.test_rolling_versions import V1, V2, over, shop
from tests.unit.coordinator.tiny_flow import TinyFlow, operator_record
from tests.unit.flows.shop import ChargePayment, FoodOrder, ItemsReserved

pytestmark = pytest.mark.virtual_time


def charging(charge: Any) -> Definition:
    """The food order, which charges in another way: the same graph."""
    graph = graph_of(FoodOrder)
    node = graph.nodes["charge"]
    assert isinstance(node, StepNode)
    return CompiledFlow(replace(graph, nodes={**graph.nodes, "charge": replace(node, make=charge)}))


def dearer(self: Any, reserved: ItemsReserved) -> ChargePayment:
    return ChargePayment(order_id=reserved.order_id, amount_cents=self.order.total_cents + 1)


def broken(self: Any, reserved: ItemsReserved) -> ChargePayment:
    raise ZeroDivisionError("no amount")


async def recorded(w: World) -> list[History]:
    """As an export has them: through text."""
    return read_histories([json.dumps(entry) for entry in await read_journal(w.transport, NAMES)])


def compared(histories: list[History], definition: Definition) -> list[Compared]:
    return [compare(history, definition) for history in histories]


def words(found: list[Compared]) -> Counter[tuple[str, str, str]]:
    return Counter((one.what, one.given, one.words) for each in found if (one := each.divergence) is not None)


async def histories_of(orders: int) -> list[History]:
    async with shop() as w:
        await w.process(V1)
        await w.take_orders(orders)
        await over(w)
        return await recorded(w)


async def test_the_same_version_decides_as_it_did() -> None:
    histories = await histories_of(30)

    found = compared(histories, V1)

    assert [one.divergence for one in found] == [None] * 30
    assert {one.inputs for one in found} == {4}
    assert not any(one.skipped for one in found)


async def test_another_version_diverges_where_it_first_says_something_else() -> None:
    histories = await histories_of(10)

    assert words(compared(histories, V2)) == Counter(
        {
            (
                "messages",
                "dispatch.driver.assigned.v1",
                "shop.order.confirmed.v1 (completed) is not sent; shop.mail.send.v1 (mail/action/0) is sent",
            ): 9
        }
    )
    [declined] = [one for one in compared(histories, V2) if one.divergence is None]
    assert declined.instance == "food-order/10"


async def test_other_content_is_a_divergence() -> None:
    histories = await histories_of(2)

    found = compared(histories, charging(dearer))

    said = "payments.payment.charge.v1 (charge/action/0) has another content"
    assert words(found) == Counter({("messages", "inventory.items.reserved.v1", said): 2})
    assert found[0].divergence is not None
    assert found[0].divergence.entry == 2


async def test_an_exception_is_a_divergence() -> None:
    histories = await histories_of(2)

    said = "now it raises ZeroDivisionError: no amount"
    assert words(compared(histories, charging(broken))) == Counter(
        {("exception", "inventory.items.reserved.v1", said): 2}
    )


async def test_what_was_parked_and_released_is_run_as_it_was_decided() -> None:
    async with shop() as w:
        first = await w.process(charging(broken))
        await w.take_orders(3)
        await w.until(lambda: w.statuses()["parked"] == 3)
        await first.stop()
        await w.process(V1)
        for number in range(1, 4):
            key = f"food-order/{number}"
            shard = next(record.partition for record in w.cluster.records(NAMES.state) if record.key == key.encode())
            await w.put(operator_record(key, 0, "retry", shard=shard))
        await over(w)
        histories = await recorded(w)

    assert words(compared(histories, V1)) == Counter()
    assert {one.inputs for one in compared(histories, V1)} == {4}


async def test_an_instance_that_is_still_parked_diverges_when_it_raises_no_longer() -> None:
    async with shop() as w:
        await w.process(charging(broken))
        await w.take_orders(1)
        await w.until(lambda: w.statuses()["parked"] == 1)
        histories = await recorded(w)

    assert words(compared(histories, charging(broken))) == Counter()
    assert words(compared(histories, V1)) == Counter(
        {("exception", "inventory.items.reserved.v1", "then it raised, and now it does not"): 1}
    )


async def test_queued_starts_waits_for_a_version_and_timers_are_run_as_they_were_decided() -> None:
    async with world() as w:
        w.answer = lambda _: None
        flow = TinyFlow(timeout=5.0)
        first = await w.process(flow, max_running=1)
        for key in ("o1", "o2", "o3"):
            await w.place(key)
        await w.until(lambda: w.statuses()["compensating"] == 1)
        await first.stop()
        w.answer = always
        second = await w.process(TinyFlow(version=2))
        await w.send(reply_to(w.commands[-1]))
        await w.until(lambda: w.statuses()["parked"] == 1)
        await second.stop()
        await w.process(flow, TinyFlow(version=2))
        await w.place("o4")
        await w.until(lambda: w.statuses()["compensated"] + w.statuses()["completed"] == 4)
        histories = await recorded(w)

    found = compared(histories, flow)
    assert words(found) == Counter()
    assert {one.instance: one.inputs for one in found} == {"tiny/o1": 3, "tiny/o2": 3, "tiny/o3": 3, "tiny/o4": 3}


async def test_what_was_written_before_messages_were_traced_is_compared_by_its_status() -> None:
    async with world() as w:
        await w.process(TinyFlow())
        await w.place("o1")
        await w.until(lambda: w.statuses()["completed"] == 1)
        entries = await read_journal(w.transport, NAMES)

    old = [json.dumps({name: value for name, value in entry.items() if name != "sent"}) for entry in entries]

    [longer] = compared(read_histories(old), TinyFlow(count=3))
    assert longer.divergence is not None
    assert (longer.divergence.what, longer.divergence.words) == (
        "status",
        "then it was completed, and now it is running",
    )


async def test_a_history_whose_beginning_is_gone_is_skipped() -> None:
    histories = await histories_of(1)
    late = [replace(one, entries=one.entries[1:]) for one in histories]

    assert [one.skipped for one in compared(late, V1)] == ["the journal no longer holds its beginning"]


@pytest.mark.parametrize("line", ["nonsense", "[]", "{}", '{"version": 1}'])
def test_a_line_that_is_no_entry_is_named(line: str) -> None:
    with pytest.raises(DecodeError, match="2 is no entry of a journal"):
        read_histories(["", line])
