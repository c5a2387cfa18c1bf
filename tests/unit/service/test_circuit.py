"""One circuit, as values: open, one probe, a ramp, closed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestra.service.circuit import TOP, Circuit


def opened() -> Circuit:
    circuit = Circuit("x")
    assert circuit.failed(None, 0.0, 1.0)
    return circuit


def test_everything_passes_until_something_fails() -> None:
    circuit = Circuit("x")
    assert circuit.is_closed
    assert circuit.admits(0.0)

    assert circuit.failed(None, 10.0, 1.0)

    assert not circuit.is_closed
    assert not circuit.admits(10.0)
    assert circuit.until == 10.1


def test_one_probe_passes_when_the_time_is_there() -> None:
    circuit = opened()
    assert circuit.admits(0.1)

    circuit.enter()

    assert not circuit.admits(0.1)
    assert not circuit.admits(1000.0)


def test_a_probe_that_fails_makes_the_next_one_wait_longer_up_to_five_seconds() -> None:
    circuit, now, waits = opened(), 0.0, []
    for _ in range(10):
        waits.append(circuit.until - now)
        now = circuit.until
        circuit.failed(circuit.enter(), now, 1.0)

    assert [round(wait, 3) for wait in waits] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0]


def test_successes_double_what_may_be_under_way_until_it_is_closed() -> None:
    circuit, rooms = opened(), []
    while not circuit.is_closed:
        rooms.append(circuit.room)
        for ticket in [circuit.enter() for _ in range(circuit.room)]:
            circuit.succeeded(ticket)

    assert rooms == [1, 2, 4, 8, 16, 32, 64, TOP]


def test_a_failure_on_the_ramp_goes_back_to_one_probe() -> None:
    circuit = opened()
    circuit.succeeded(circuit.enter())
    first, second = circuit.enter(), circuit.enter()

    assert circuit.failed(first, 1.0, 0.0)

    assert not circuit.failed(second, 1.0, 0.0), "one outage, one opening"
    assert circuit.room == 1
    assert circuit.rounds == 1, "it was back in between"


def test_what_began_before_the_opening_says_nothing() -> None:
    circuit = Circuit("x")
    before = circuit.enter()
    circuit.failed(None, 0.0, 1.0)

    assert not circuit.failed(None, 0.05, 1.0)
    assert not circuit.failed(before, 0.05, 1.0)
    assert not circuit.succeeded(before)
    circuit.left(before)

    assert (circuit.rounds, circuit.room) == (1, 1)


def test_a_probe_that_ends_without_an_answer_makes_room_for_another() -> None:
    circuit = opened()
    circuit.left(circuit.enter())

    assert circuit.admits(0.1)


@given(st.lists(st.sampled_from(["enter", "succeed", "fail", "leave", "tick"]), max_size=200))
def test_no_more_are_under_way_than_were_let_through(moves: list[str]) -> None:
    circuit, now, under_way = opened(), 0.0, list[int]()
    for move in moves:
        now += move == "tick"
        if move == "enter" and circuit.admits(now):
            under_way.append(circuit.enter())
        elif under_way and move == "succeed":
            circuit.succeeded(under_way.pop())
        elif under_way and move == "fail":
            circuit.failed(under_way.pop(), now, 0.5)
        elif under_way and move == "leave":
            circuit.left(under_way.pop())
        if not circuit.is_closed:
            assert 0 <= circuit.room <= TOP
            assert under_way or circuit.room > 0, "nothing is under way, and nothing may be: it would stay so for ever"
