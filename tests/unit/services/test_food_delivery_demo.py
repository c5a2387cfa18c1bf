"""Does the demo's reconciliation see what is wrong?"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from services.demo_kit.reconcile import Books, Finding
from services.food_delivery.demo.make_orders import lines
from services.food_delivery.demo.reconcile import reconcile
from services.food_delivery.demo.submit import read_submission

ORDERS = Path(__file__).parents[3] / "services" / "food_delivery" / "orders.jsonl"

TABLES = {
    "orders": """
        create table placed (order_id, total_cents);
        create table endings (order_id, status, total_cents, note);
        insert into placed values ('a', 900), ('b', 500);
        insert into endings values ('a', 'confirmed', 900, 'ana'), ('b', 'rejected', 0, 'assign: none free');
    """,
    "inventory": """
        create table stock (sku, initial, available);
        create table reservations (order_id, sku, quantity);
        insert into stock values ('ramen', 10, 8);
        insert into reservations values ('a', 'ramen', 2);
    """,
    "payments": """
        create table entries (order_id, kind, amount_cents);
        insert into entries values ('a', 'capture', 900), ('b', 'capture', 500), ('b', 'refund', 500);
    """,
    "dispatch": """
        create table drivers (driver_id, load);
        create table assignments (order_id, driver_id);
        insert into drivers values ('ana', 1);
        insert into assignments values ('a', 'ana');
    """,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for service, script in TABLES.items():
        run(tmp_path, service, script)
    return tmp_path


def run(folder: Path, service: str, script: str) -> None:
    connection = sqlite3.connect(folder / f"{service}.db")
    connection.executescript(script)
    connection.close()


def mismatches(folder: Path) -> list[Finding]:
    return [finding for finding in reconcile(Books(folder), {"a", "b"}) if not finding.holds]


def test_books_that_agree_have_no_mismatch(folder: Path) -> None:
    assert mismatches(folder) == []


@pytest.mark.parametrize(
    ("service", "fault", "seen_in"),
    [
        ("orders", "delete from placed where order_id = 'b'", "orders recorded"),
        ("orders", "delete from endings where order_id = 'b'", "orders with an ending"),
        ("orders", "insert into endings values ('b', 'rejected', 0, '')", "one for each order"),
        ("orders", "insert into endings values ('b', 'confirmed', 500, '')", "both confirmed and rejected"),
        ("payments", "delete from entries where kind = 'refund'", "cents"),
        ("payments", "update entries set kind = 'gift' where kind = 'refund'", "without a driver"),
        ("payments", "insert into entries values ('a', 'capture', 900)", "charged or refunded twice"),
        ("inventory", "update stock set available = 7", "taken from stock"),
        ("inventory", "insert into reservations values ('b', 'ramen', 1)", "not confirmed"),
        ("inventory", "delete from reservations", "orders that hold items"),
        ("inventory", "update stock set available = -1", "below zero"),
        ("dispatch", "update drivers set load = 2", "orders carried"),
        ("dispatch", "insert into assignments values ('b', 'ana')", "drivers assigned"),
    ],
)
def test_a_fault_in_the_books_is_a_mismatch(folder: Path, service: str, fault: str, seen_in: str) -> None:
    run(folder, service, fault)

    assert any(seen_in in finding.what for finding in mismatches(folder))


def test_the_checked_in_orders_are_the_generated_ones() -> None:
    assert ORDERS.read_text().splitlines() == lines(320, seed=20)


def test_the_orders_hold_what_the_demo_promises() -> None:
    submissions = [read_submission(line, number) for number, line in enumerate(ORDERS.read_text().splitlines())]
    placed = [one for one in submissions if one.kind == "shop.order.placed.v1"]

    assert len({one.order_id for one in placed}) >= 300
    assert len(placed) > len({one.order_id for one in placed})
    assert sum(one.order_id is None for one in submissions) == 1
    assert sum(one.kind == "shop.menu.viewed.v1" for one in submissions) == 1


def test_a_submission_is_a_plain_cloud_event_in_either_mode() -> None:
    line = ORDERS.read_text().splitlines()[0]

    structured, binary = read_submission(line, 0), read_submission(line, 1)

    assert structured.headers == [("content-type", b"application/cloudevents+json")]
    assert dict(binary.headers)["ce_type"] == b"shop.order.placed.v1"
    assert json.loads(binary.value) == json.loads(structured.value)["data"]
