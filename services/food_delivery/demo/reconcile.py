"""Is every cent and every item accounted for? Compares the orders submitted with what the four services hold."""

from __future__ import annotations

from collections.abc import Sequence

from services.demo_kit.reconcile import Books, Finding, Letter

DEAD_LETTERS = ("food.dead-letters", "orders.dead-letters")


def reconcile(books: Books, placed: set[str]) -> list[Finding]:
    """Every comparison between what was submitted and what the four services hold."""
    confirmed = books.names("orders", "select order_id from endings where status = 'confirmed'")
    rejected = books.names("orders", "select order_id from endings where status = 'rejected'")
    return [
        Finding("orders recorded", len(placed), books.number("orders", "select count(*) from placed")),
        Finding("orders with an ending", len(placed), len((confirmed | rejected) & placed)),
        Finding("endings: one for each order", len(placed), books.number("orders", "select count(*) from endings")),
        Finding("orders both confirmed and rejected", 0, len(confirmed & rejected)),
        *money(books),
        *goods(books),
        *drivers(books, confirmed),
    ]


def money(books: Books) -> list[Finding]:
    captured = books.number("payments", "select sum(amount_cents) from entries where kind = 'capture'")
    refunded = books.number("payments", "select sum(amount_cents) from entries where kind = 'refund'")
    refunds = books.names("payments", "select order_id from entries where kind = 'refund'")
    no_driver = books.names("orders", "select order_id from endings where note like 'assign: %'")
    twice = "select count(*) from (select 1 from entries group by order_id, kind having count(*) > 1)"
    return [
        Finding(
            "cents: confirmed totals = captures - refunds",
            books.number("orders", "select sum(total_cents) from endings where status = 'confirmed'"),
            captured - refunded,
        ),
        Finding("orders without a driver: refunded", len(no_driver), len(no_driver & refunds)),
        Finding("cards charged or refunded twice", 0, books.number("payments", twice)),
    ]


def goods(books: Books) -> list[Finding]:
    reserved = books.number("inventory", "select sum(quantity) from reservations")
    taken = books.number("inventory", "select sum(initial - available) from stock")
    below = books.number("inventory", "select count(*) from stock where available < 0")
    holders = books.names("inventory", "select distinct order_id from reservations")
    confirmed = books.names("orders", "select order_id from endings where status = 'confirmed'")
    return [
        Finding("items: taken from stock = reserved", taken, reserved),
        Finding("orders that hold items = confirmed orders", len(confirmed), len(holders & confirmed)),
        Finding("items held for orders not confirmed", 0, len(holders - confirmed)),
        Finding("stock below zero", 0, below),
    ]


def drivers(books: Books, confirmed: set[str]) -> list[Finding]:
    assigned = books.names("dispatch", "select order_id from assignments")
    load = books.number("dispatch", "select sum(load) from drivers")
    return [
        Finding("drivers: orders carried = confirmed orders", len(confirmed), load),
        Finding("drivers assigned to orders not confirmed", 0, len(assigned - confirmed)),
    ]


def malformed(letters: Sequence[Letter]) -> Finding:
    """The record that is cut off must be a dead letter of both groups that read it, with its reason."""
    found = {letter.topic for letter in letters if letter.reason == "DECODE"}
    return Finding("dead-letter topics that hold the malformed record", len(DEAD_LETTERS), len(found))
