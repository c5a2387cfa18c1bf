"""From plain facts: alive, ready, and idle, busy, paused or stuck?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestra.health.facts import BrokerFacts, GroupFacts, LostHandler, PartitionFacts, ProcessFacts, UnitFacts
from orchestra.health.history import History, remember
from orchestra.health.judge import Health, Limits, judge
from orchestra.transport.port import Partition

ORDERS = Partition("orders", 3)
LIMITS = Limits(stall=60.0, rejoin=180.0, absence=20.0, brokers=600.0, rebalance=10.0, held=600.0)
IDLE = PartitionFacts(ORDERS, committed=100, position=100)


class World:
    """A service that reads one partition, looked at every few seconds."""

    def __init__(self, partition: PartitionFacts = IDLE, *, end: int = 100) -> None:
        self.now = 1000.0
        self.partitions = (partition,)
        self.is_member = True
        self.is_stopping = False
        self.fetches = True
        self.receives = False
        self.brokers_answer = True
        self.answered: float | None = self.now
        self.error: str | None = None
        self.end = end
        self.lost: tuple[LostHandler, ...] = ()
        self.unready: tuple[str, ...] = ()
        self.starting: tuple[str, ...] = ()
        self.fetched = self.received = self.now
        self.history = History()
        self.look()

    def facts(self) -> ProcessFacts:
        group = GroupFacts("payments", ("orders",), self.is_member, self.fetched, self.received, self.partitions)
        unit = UnitFacts("payments", (group,), self.lost, self.unready, self.is_stopping)
        return ProcessFacts((unit,), self.starting, BrokerFacts(self.answered, self.error, {ORDERS: self.end}))

    def look(self) -> Health:
        self.fetched = self.now if self.fetches else self.fetched
        self.received = self.now if self.receives else self.received
        self.answered = self.now if self.brokers_answer else self.answered
        facts = self.facts()
        self.history = remember(self.history, facts, self.now, pause=LIMITS.absence)
        return judge(facts, self.history, LIMITS, now=self.now, now_ms=self.now * 1000)

    def after(self, seconds: float) -> Health:
        for _ in range(int(seconds / 5)):
            self.now += 5.0
            health = self.look()
        return health

    def sleep(self, seconds: float) -> Health:
        """Nobody looks meanwhile: the process is suspended."""
        self.now += seconds
        return self.look()

    def is_now(self, partition: PartitionFacts) -> tuple[str, str | None]:
        self.partitions = (partition,)
        (lag,) = self.look().lag
        return lag.state, lag.why


def test_an_idle_service_is_alive_ready_and_has_no_lag() -> None:
    health = World().after(3600)

    assert health.live.is_ok
    assert health.ready.is_ok
    (lag,) = health.lag
    assert (lag.state, lag.lag, lag.age) == ("idle", 0, None)
    assert health.stalled == {}


# ---- lag


def test_lag_is_told_in_records_and_in_the_age_of_the_oldest_that_is_not_done() -> None:
    world = World(replace(IDLE, position=130, window=30, busy=4, oldest_ms=999_750), end=150)

    (lag,) = world.look().lag

    assert (lag.committed, lag.end, lag.lag, lag.window, lag.age) == (100, 150, 50, 30, 0.25)
    assert (lag.state, lag.why) == ("busy", None)


def test_a_group_that_has_stored_no_place_yet_has_lag_too() -> None:
    world = World(PartitionFacts(ORDERS, committed=None, position=30, window=10), end=50)

    assert world.look().lag[0].lag == 30


def test_lag_is_not_known_while_brokers_have_said_nothing() -> None:
    facts = ProcessFacts(World().facts().units, (), BrokerFacts())

    health = judge(facts, History(), LIMITS, now=0.0, now_ms=0.0)

    assert (health.lag[0].end, health.lag[0].lag) == (None, None)


def test_records_that_all_wait_are_paused_and_the_reasons_are_named() -> None:
    waiting = {"waits for stock: ConnectError": 11, "the next try, in 30 s": 1}

    assert World().is_now(replace(IDLE, position=112, window=12, waiting=waiting)) == (
        "paused",
        "waits for stock: ConnectError (11 records), the next try, in 30 s (1 record)",
    )


def test_a_partition_is_busy_while_anything_is_handled_though_other_records_wait() -> None:
    facts = replace(IDLE, position=112, window=12, busy=1, waiting={"the next try": 1})

    assert World().is_now(facts) == ("busy", "the next try (1 record)")


def test_a_partition_that_is_not_fetched_from_is_paused() -> None:
    facts = replace(IDLE, position=400, window=300, busy=64, paused="full: 300 records are queued")

    assert World(end=1000).is_now(facts) == ("paused", "full: 300 records are queued")


def test_a_handler_that_ignores_its_cancellation_makes_its_partition_stuck() -> None:
    facts = replace(IDLE, position=101, window=1, busy=1, overdue="payments.charge")

    assert World().is_now(facts) == ("stuck", "handler payments.charge ignores its cancellation")


def test_a_shard_that_needs_a_person_is_stuck() -> None:
    assert World().is_now(replace(IDLE, stopped="the shard is stopped: input was lost")) == (
        "stuck",
        "the shard is stopped: input was lost",
    )


def test_a_handler_without_a_timeout_is_stuck_when_nothing_gets_done_for_long() -> None:
    world = World(replace(IDLE, position=101, window=1, busy=1, is_open_ended=True), end=101)

    assert world.after(595).lag[0].state == "busy"
    lag = world.after(10).lag[0]
    assert lag.state == "stuck"
    assert lag.why == "a handler without a timeout has been at work, and nothing done, for 605 s"


def test_a_slow_handler_with_a_timeout_is_busy_until_that_is_over() -> None:
    world = World(replace(IDLE, position=101, window=1, busy=1), end=101)

    assert world.after(3600).lag[0].state == "busy"


# ---- alive: a client that takes nothing in


def test_a_client_that_fetches_nothing_though_there_are_records_is_stalled() -> None:
    world = World(end=105)

    before = world.after(60)
    health = world.after(5)

    assert before.live.is_ok
    assert not health.live.is_ok
    assert health.stalled == {"payments": "orders[3]: nothing is fetched for 65 s, though there are records"}
    assert health.lag[0].state == "stuck"


def test_a_client_that_moves_on_is_not_stalled() -> None:
    world = World(end=10_000)
    for position in range(100, 200):
        world.partitions = (replace(IDLE, position=position, committed=position),)
        health = world.after(5)

    assert health.live.is_ok
    assert health.stalled == {}


def test_a_client_that_gets_records_of_other_partitions_or_has_no_room_is_not_stalled() -> None:
    world = World(end=105)
    world.receives = True

    assert world.after(600).stalled == {}


def test_a_partition_that_is_not_to_be_fetched_is_not_stalled() -> None:
    world = World(replace(IDLE, paused="full: 300 records are queued"), end=500)

    assert world.after(3600).live.is_ok


def test_a_fetch_that_never_ends_is_a_stall() -> None:
    world = World()
    world.fetches = False

    health = world.after(65)

    assert health.stalled == {"payments": "group payments: no fetch has ended for 65 s, though brokers answer"}
    assert health.live.problems == ("payments: group payments: no fetch has ended for 65 s, though brokers answer",)


def test_a_client_that_never_gets_back_into_its_group_is_stalled() -> None:
    world = World()
    world.is_member = False

    assert world.after(180).stalled == {}
    assert world.after(10).stalled == {"payments": "group payments: no member for 185 s, though brokers answer"}


def test_a_client_cannot_be_blamed_while_brokers_are_away_nor_right_after() -> None:
    world = World(end=105)
    world.brokers_answer = world.fetches = False

    away = world.after(300)
    world.brokers_answer = True
    back = world.after(60)

    assert away.stalled == back.stalled == {}
    assert world.after(10).stalled != {}


def test_a_process_that_was_suspended_is_not_stalled_when_it_wakes() -> None:
    world = World(end=105)
    world.after(50)

    woken = world.sleep(7200)

    assert woken.live.is_ok
    assert world.after(60).stalled == {}


def test_a_unit_that_drains_is_left_alone() -> None:
    world = World(end=105)
    world.is_stopping, world.fetches = True, False

    health = world.after(300)

    assert health.live.is_ok
    assert health.stalled == {}


# ---- alive: brokers, handlers


def test_brokers_that_are_away_for_a_short_time_are_a_note_and_no_failure() -> None:
    world = World()
    world.brokers_answer, world.error = False, "no broker answered within 10 s"

    health = world.after(60)

    assert health.live.is_ok
    assert health.live.notes == ("no broker has answered for 60 s: no broker answered within 10 s; waiting for them",)
    assert health.ready.problems == ("no broker has answered for 60 s: no broker answered within 10 s",)


def test_brokers_that_are_away_for_too_long_make_it_dead() -> None:
    world = World()
    world.brokers_answer = False

    assert world.after(600).live.is_ok
    assert world.after(10).live.problems == ("no broker has answered for 610 s",)


def test_brokers_may_be_away_for_ever_where_that_is_asked_for() -> None:
    world = World()
    world.brokers_answer = False
    world.after(7200)

    health = judge(world.facts(), world.history, replace(LIMITS, brokers=0.0), now=world.now, now_ms=0.0)

    assert health.live.is_ok
    assert not health.ready.is_ok


def test_a_handler_that_was_given_up_and_goes_on_makes_it_dead_after_a_while() -> None:
    world = World()
    world.lost = (LostHandler("payments.charge", since=world.now),)

    assert world.after(60).live.is_ok
    assert world.after(5).live.problems == ("handler payments.charge was given up 65 s ago, and still runs",)


def test_lag_never_makes_it_dead() -> None:
    world = World(replace(IDLE, position=101, window=1, busy=1, oldest_ms=0), end=10_000_000)
    world.receives = True

    assert world.after(7200).live.is_ok


# ---- ready


def test_it_is_not_ready_before_it_is_a_member_of_its_group() -> None:
    world = World()
    world.is_member, world.history = False, History()

    assert world.look().ready.problems == ("payments: no member of group payments",)


def test_a_member_without_partitions_is_ready() -> None:
    world = World()
    world.partitions = ()

    assert world.look().ready.is_ok


def test_a_rebalance_of_a_few_seconds_leaves_it_ready() -> None:
    world = World()
    world.is_member = False

    assert world.after(15).ready.is_ok
    assert world.after(5).ready.problems == ("payments: no member of group payments",)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"starting": ("food",)}, "food is starting"),
        ({"unready": ("shard 3 is being taken over",)}, "payments: shard 3 is being taken over"),
        ({"is_stopping": True}, "payments drains"),
    ],
)
def test_it_is_not_ready_before_everything_is_there_nor_when_it_ends(change: dict[str, object], problem: str) -> None:
    world = World()
    for name, value in change.items():
        setattr(world, name, value)

    health = world.look()

    assert health.ready.problems == (problem,)
    assert health.live.is_ok


def test_it_is_not_ready_before_brokers_have_answered() -> None:
    world = World()
    world.answered, world.brokers_answer = None, False

    assert world.look().ready.problems == ("brokers have not been reached yet",)
