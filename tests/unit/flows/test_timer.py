"""Back-off and jitter: pure, within the policy, and the same on every machine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from orchestra.flows.timer import due_again, from_micros, is_alert_due, jitter, to_micros
from orchestra.retry import Retry


def test_the_jitter_is_a_fact_of_effect_and_attempt() -> None:
    assert jitter("f/k/0/s/action/0", 1) == 0.03179054113720525
    assert jitter("f/k/0/s/action/0", 2) != jitter("f/k/0/s/action/0", 1)


def test_jitters_are_spread_evenly() -> None:
    drawn = [jitter(f"f/{number}/0/s/action/0", 1) for number in range(2000)]

    assert all(0 <= one < 1 for one in drawn)
    assert 0.47 < sum(drawn) / len(drawn) < 0.53


@given(st.integers(1, 200), st.integers(1, 20))
def test_a_back_off_stays_within_the_policy(spent: int, attempts: int) -> None:
    retry = Retry(attempts=attempts, first="100ms", cap="10s")

    wait = due_again(1_000_000, "f/k/0/s/action/0", spent, spent, retry) - 1_000_000

    assert 0 <= wait <= retry.longest_delay(spent + 1) * 1_000_000


def test_alerts_get_rarer_and_never_stop() -> None:
    retry = Retry(attempts=3)

    assert [spent for spent in range(100) if is_alert_due(spent, retry)] == [3, 6, 12, 24, 48, 96]


@given(st.timedeltas(timedelta(0), timedelta(days=300_000)))
def test_moments_are_kept_to_the_microsecond(since: timedelta) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + since
    assert from_micros(to_micros(moment)) == moment


def test_moments_of_other_zones_are_kept_in_utc() -> None:
    moment = datetime(2026, 8, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=45)))

    assert from_micros(to_micros(moment)) == moment
    assert from_micros(to_micros(moment)).tzinfo is UTC
