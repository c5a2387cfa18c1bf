"""``make demo-ecommerce-fulfilment``: the coordinator is upgraded under load, and every order ends as it began.

Environment: see ``services/demo_kit/play.py``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from aiokafka import ConsumerRecord

from orchestra import Settings, connect
from services.demo_kit.pace import publish
from services.demo_kit.play import play
from services.demo_kit.processes import Crew
from services.demo_kit.progress import Progress, follow
from services.demo_kit.reconcile import Books, Finding, settle
from services.demo_kit.stage import Stage
from services.ecommerce_fulfilment.goods import BLOCKED_CARDS, STOCK
from services.ecommerce_fulfilment.make_orders import ORDERS
from services.ecommerce_fulfilment.messages import CardUnblocked, OrderReceived

APP = "services.ecommerce_fulfilment.app"
BEFORE = "services.ecommerce_fulfilment.app_v1:fulfilment"
NOW = f"{APP}:fulfilment"
BETWEEN_UPGRADES = 5.0
UNBLOCKED = "select count(*) from unblocked"


async def demo(stage: Stage) -> list[Finding]:
    orders = {
        order.order_id: order for order in map(OrderReceived.model_validate_json, ORDERS.read_text().splitlines())
    }
    progress = stage.progress
    versions = Versions(progress)
    async with stage.crew(APP, ["stockroom", "billing", "carrier"], coordinator=BEFORE) as crew:
        stage.say(f"{len(orders)} orders come in; both coordinators have version 1 alone\n")
        upgrading = asyncio.create_task(upgrade(stage, crew, after=len(orders) // 3))
        await stage.show(
            crew,
            len(orders),
            publish(stage.servers, [*orders.values()], stage.rate(14), lambda order: progress.begin(order.order_id)),
            follow(stage.servers, ["fulfilment.journal"], versions.take),
        )
        await upgrading
        await go_on_with(stage, progress.those("halted"))
        findings = await settle(lambda: reconcile(Books(stage.data), orders))
        waiting = await stage.instances_waiting(NOW)
        instances = json.loads(await stage.orchestra("instances", "list", NOW, "--json"))
    return [*versions.findings(instances), *findings, Finding("instances left waiting", 0, waiting)]


async def upgrade(stage: Stage, crew: Crew, *, after: int) -> None:
    """One coordinator after the other, while orders come in."""
    while stage.progress.records < after:
        await asyncio.sleep(0.1)
    for member in crew.coordinators:
        stage.say(f"{member.name} is upgraded: it has versions 1 and 2")
        await member.upgrade(NOW)
        await asyncio.sleep(BETWEEN_UPGRADES)


async def go_on_with(stage: Stage, halted: set[str]) -> None:
    """What version 1 leaves to people: they speak with the bank, and retry each order."""
    stage.say(
        f"{len(halted)} orders of version 1 have halted; the cards are unblocked, and an operator goes on with them"
    )
    async with connect(Settings(bootstrap_servers=stage.servers), name="bank") as bus:
        await bus.publish(*(CardUnblocked(card=card) for card in sorted(BLOCKED_CARDS)))
    await settle(lambda: [Finding("unblocked", len(BLOCKED_CARDS), Books(stage.data).number("billing", UNBLOCKED))])
    await stage.orchestra(
        "instances", "retry", NOW, *sorted(halted), "--reason", "the card is unblocked", "--by", "ann"
    )


class Versions:
    """On which version does each instance begin, and on which does it end?"""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.began_on: dict[str, int] = {}
        self.upgraded_at: float | None = None

    def take(self, record: ConsumerRecord[bytes, bytes]) -> None:
        self.progress.take_journal(record)
        entry = json.loads(record.value or b"{}")
        if (version := entry["flow_version"]) is not None:
            self.began_on.setdefault(entry["instance"], version)
            if version == 2 and self.upgraded_at is None:
                self.upgraded_at = time.monotonic()

    def findings(self, instances: list[dict[str, str]]) -> list[Finding]:
        began = {name: f"fulfilment/{version}" for name, version in self.began_on.items()}
        ended = {one["id"]: one["flow"] for one in instances}
        under_way = [
            name
            for name, version in self.began_on.items()
            if version == 1 and self.upgraded_at and self._ended_at(name) > self.upgraded_at
        ]
        return [
            Finding("instances seen at the end", len(began), len(ended)),
            Finding("ended on the version that they began with", len(began), len(began.items() & ended.items())),
            Finding("version 1 and version 2 both ran", 2, len(set(ended.values()))),
            Finding("version 1 was still running when version 2 began", 1, int(bool(under_way))),
        ]

    def _ended_at(self, instance: str) -> float:
        return self.progress.ended_at[instance.rpartition("/")[2]]


def reconcile(books: Books, orders: dict[str, OrderReceived]) -> list[Finding]:
    """What was shipped was picked and paid for, and nothing else was."""
    shipped = books.names("carrier", "select order_id from parcels")
    picked = books.names("stockroom", "select order_id from picks")
    gone = sum(STOCK.values()) - books.number("stockroom", "select sum(count) from shelves")
    return [
        Finding("orders picked = shipped", len(shipped), len(picked)),
        Finding("orders picked and not shipped", 0, len(picked - shipped)),
        Finding("items gone from the shelves", sum(orders[order].quantity for order in shipped), gone),
        Finding(
            "cents billed, less refunds",
            sum(orders[order].total_cents for order in shipped),
            books.number("billing", "select sum(cents) from entries"),
        ),
    ]


if __name__ == "__main__":
    sys.exit(play("e-commerce fulfilment", demo))
