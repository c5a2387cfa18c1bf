"""The policy itself: what it allows, what it refuses, what it says of an error."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from orchestra.errors import DecodeError, DefinitionError, PermanentError
from orchestra.retry import Retry


class Busy(ConnectionError): ...


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"attempts": 0}, "attempts=1"),
        ({"factor": 0.5}, "factor"),
        ({"first": "1m", "cap": "1s"}, "cap is below"),
        ({"first": "soon"}, "not a duration"),
        ({"later": "5s"}, "write a tuple"),
        ({"later": ("7s",)}, "5s, 30s, 2m, 10m, 1h only"),
        ({"later": ("30s", "5s")}, "shortest first"),
        ({"later": ("5s", "5s")}, "once"),
        ({"order": "random"}, "block_key, divert_key, unordered"),
        ({"errors": {"ValueError": "permanent"}}, "exception classes"),
        ({"errors": {KeyboardInterrupt: "permanent"}}, "exception classes"),
        ({"errors": {ValueError: "fatal"}}, '"transient", "permanent", "infrastructure"'),
    ],
)
def test_a_policy_that_cannot_work_is_refused_with_a_remedy(values: dict[str, Any], says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        Retry(**values)


def test_later_delays_follow_the_tries_in_place() -> None:
    policy = Retry(attempts=2, later=(timedelta(seconds=5), "120s"))

    assert [policy.tier(attempt) for attempt in range(1, 6)] == [None, None, "5s", "2m", None]
    assert [policy.allows(attempt) for attempt in range(1, 4)] == [True, True, False]


def test_the_most_specific_class_decides_what_an_error_is() -> None:
    policy = Retry(errors={OSError: "transient", ConnectionError: "permanent", Busy: "infrastructure"})

    kinds = [policy.kind_of(error) for error in (Busy(), ConnectionResetError(), OSError(), ValueError())]

    assert kinds == ["infrastructure", "permanent", "transient", None]


def test_an_entry_for_every_exception_leaves_our_own_errors_as_they_are() -> None:
    policy = Retry(errors={Exception: "infrastructure", PermanentError: "transient"})

    assert policy.kind_of(ZeroDivisionError()) == "infrastructure"
    assert policy.kind_of(DecodeError("data", "bad")) is None
    assert policy.kind_of(PermanentError("named, so it is meant")) == "transient"


def test_a_cause_does_not_decide() -> None:
    error = ValueError("outer")
    error.__cause__ = Busy()

    assert Retry(errors={Busy: "infrastructure"}).kind_of(error) is None


def test_policies_are_values() -> None:
    assert Retry(later=["5s"]) == Retry(later=("5s",))
    assert len({Retry(), Retry(), Retry(errors={ValueError: "permanent"})}) == 2
