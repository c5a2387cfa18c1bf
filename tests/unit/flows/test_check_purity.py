"""Is what a flow's method must not call barred, before it is called?"""

from __future__ import annotations

import datetime as dates
import gc
import hashlib
import json
import os
import random
import secrets
import socket
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestra.flows.check.purity import run_watched

SEEDED = random.Random(7)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (time.time, "time.time"),
        (lambda: time.sleep(60), "time.sleep"),
        (lambda: dates.datetime.now(dates.UTC), "datetime.now"),
        (dates.date.today, "date.today"),
        (random.random, "random.random"),
        (lambda: random.choice("ab"), "random.choice"),
        (uuid.uuid4, "uuid.uuid4"),
        (uuid.uuid1, "uuid.uuid1"),
        (secrets.token_hex, "secrets.token_hex"),
        (lambda: os.urandom(2), "os.urandom"),
        (lambda: Path(__file__).read_text(), "open"),
        (lambda: os.listdir("/"), "os.listdir"),
        (lambda: socket.create_connection(("localhost", 9)), "socket.getaddrinfo"),
        (lambda: subprocess.run(["true"], check=True), "os.pipe"),
    ],
)
def test_it_is_barred(call: Callable[[], object], name: str) -> None:
    made, barred = run_watched(call)

    assert made is None
    assert barred is not None
    assert barred.call == name


@pytest.mark.parametrize(
    "call",
    [
        lambda: json.dumps({"a": 1}),
        lambda: hashlib.sha256(b"x").hexdigest(),
        lambda: dates.datetime(2026, 1, 1, tzinfo=dates.UTC).isoformat(),
        lambda: dates.datetime.strptime("2026 +0000", "%Y %z"),
        SEEDED.random,
        lambda: uuid.uuid5(uuid.NAMESPACE_URL, "x"),
        lambda: __import__("colorsys"),
    ],
)
def test_it_is_allowed(call: Callable[[], object]) -> None:
    assert run_watched(call)[1] is None


def test_a_method_cannot_catch_it() -> None:
    def swallows() -> str:
        try:
            return str(time.time())
        except Exception:
            return "caught"

    assert run_watched(swallows)[1] is not None


def test_an_error_of_the_method_comes_through() -> None:
    with pytest.raises(KeyError):
        run_watched(lambda: {}["a"])


def test_nothing_is_barred_afterwards() -> None:
    run_watched(time.time)

    assert time.time() > 0


def test_what_the_collector_calls_is_not_the_methods_doing() -> None:
    """Hypothesis, for one, times collections; one that fell into a method made the check fail, at random."""
    called: list[float] = []

    def look_on(phase: str, info: dict[str, int]) -> None:
        called.append(time.perf_counter())

    def makes_garbage() -> int:
        for _ in range(5000):
            ring: list[object] = []
            ring.append(ring)
        return 1

    before = gc.get_threshold()
    gc.callbacks.append(look_on)
    gc.set_threshold(10)
    try:
        assert run_watched(makes_garbage) == (1, None)
        assert gc.isenabled()
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(look_on)
