"""aiokafka's complaint about a broker that is away is heard, and then again only once in a while."""

from __future__ import annotations

import logging

from orchestra.transport.kafka.quiet import RateLimit, calm_aiokafka


class Clock:
    """Time that a test sets."""

    now_seconds = 100.0

    def elapsed(self) -> float:
        return self.now_seconds


def record(text: str, level: int = logging.ERROR) -> logging.LogRecord:
    return logging.LogRecord("aiokafka", level, __file__, 1, text, (), None)


def test_same_line_passes_once_in_a_while_and_says_how_many_were_held_back() -> None:
    clock = Clock()
    limit = RateLimit(10.0, clock=clock)  # type: ignore[arg-type]  # it asks for no more than this

    passed = [limit.filter(record("Unable to connect to node %s")) for _ in range(5)]
    clock.now_seconds += 11
    later = record("Unable to connect to node %s")

    assert passed == [True, False, False, False, False]
    assert limit.filter(later)
    assert later.msg == "Unable to connect to node %s (and 4 more like this)"


def test_other_lines_and_milder_ones_pass() -> None:
    limit = RateLimit(10.0, clock=Clock())  # type: ignore[arg-type]

    assert limit.filter(record("one"))
    assert limit.filter(record("another"))
    assert all(limit.filter(record("said often", logging.INFO)) for _ in range(3))


def test_many_different_lines_do_not_fill_the_memory() -> None:
    limit = RateLimit(10.0, clock=Clock())  # type: ignore[arg-type]

    for number in range(2000):
        limit.filter(record(f"line {number}"))

    assert len(limit._lines) <= 256


def test_calming_twice_is_calming_once() -> None:
    calm_aiokafka()
    calm_aiokafka()

    filters = logging.getLogger("aiokafka").filters
    assert len([each for each in filters if isinstance(each, RateLimit)]) == 1
