"""How fast is an order, from submission to confirmation? The food services as they are, databases included."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from bench.bench import Bench
from bench.client import Client, client
from bench.figures import Figure, latency
from bench.members import Crew, crew
from bench.plain import wait_for_groups
from services.food_delivery.catalogue import PRICE_CENTS

NAMESPACE = "bench-orders"
APP = "services.food_delivery.app"
SERVICES = ("orders", "inventory", "payments", "dispatch")
PER_SECOND = 10.0
ZONES = ("centre", "north", "south")


async def orders(bench: Bench) -> list[Figure]:
    environment = bench.environment(NAMESPACE)
    async with crew(bench.folder / NAMESPACE, environment) as members:
        members.create_topics(f"{APP}:app")
        for service in SERVICES:
            members.orchestra(service, f"{APP}:{service}")
        for number in (1, 2):
            members.orchestra(f"coordinator-{number}", f"{APP}:food")
        groups = [f"{NAMESPACE}.{group}" for group in (*SERVICES, "food", "food.router")]
        await wait_for_groups(bench.servers, groups, members.require_running)
        fill_up(Path(environment["SERVICES_DATA"]))
        topic = f"{NAMESPACE}.shop.orders"
        start, end = (topic, "shop.order.placed.v1"), (topic, "shop.order.confirmed.v1")
        async with client(bench.servers, start=start, end=end) as shop:
            await shop.run_all(some_orders("warm", 50), in_flight=5)
            return [
                *await _steady(shop, bench.some(300)),
                *await _full_load(shop, members, bench.some(800)),
                *(Figure(f"orders: {one.name}, resident", one.resident_mb(), "MB", 150) for one in members.members),
            ]


def fill_up(folder: Path) -> None:
    """Stock and drivers for any number of orders: what is measured is work, not want."""
    for service, change in (
        ("inventory", "update stock set initial = initial + 1000000, available = available + 1000000"),
        ("dispatch", "update drivers set capacity = 1000000"),
    ):
        connection = sqlite3.connect(folder / f"{service}.db", timeout=10)
        with connection:
            connection.execute(change)
        connection.close()


def some_orders(prefix: str, count: int) -> Iterator[tuple[str, bytes]]:
    """Orders of one to three items that will be confirmed; the same in every run."""
    chance = random.Random(prefix)
    for number in range(count):
        order = f"{prefix}-{number}"
        items = [{"sku": sku, "quantity": 1} for sku in chance.sample(sorted(PRICE_CENTS), chance.randint(1, 3))]
        total = sum(PRICE_CENTS[str(item["sku"])] for item in items)
        data = {"order_id": order, "items": items, "total_cents": total, "card": "card-1", "zone": chance.choice(ZONES)}
        yield order, json.dumps(data).encode()


async def _steady(shop: Client, count: int) -> list[Figure]:
    """An even pace, whether or not the ones before have ended."""
    keys: list[str] = []
    begun = time.perf_counter()
    for number, (key, data) in enumerate(some_orders("steady", count)):
        await asyncio.sleep(max(0.0, begun + number / PER_SECOND - time.perf_counter()))
        keys.append(key)
        await shop.start(key, data)
    await shop.wait_for(keys)
    return latency(f"orders: at {PER_SECOND:.0f}/s until confirmed", shop.latencies(keys), p50=40, p99=150)


async def _full_load(shop: Client, members: Crew, count: int) -> list[Figure]:
    """All at once."""
    before = [member.cpu_seconds() for member in members.members]
    keys = list(some_orders("full", count))
    begun = time.perf_counter()
    for key, data in keys:
        await shop.start(key, data)
    await shop.wait_for(key for key, _ in keys)
    seconds = time.perf_counter() - begun
    used = [member.cpu_seconds() - start for member, start in zip(members.members, before, strict=True)]
    return [
        Figure("orders: full load", count / seconds, "/s", 80, "higher", f"n={count}, all at once"),
        *(
            Figure(f"orders: CPU of {one.name}", cpu / count * 1000, "ms/order", note=f"{cpu / seconds:.0%} of a core")
            for one, cpu in zip(members.members, used, strict=True)
        ),
        Figure("orders: confirmed twice", shop.repeats, "", 0),
    ]
