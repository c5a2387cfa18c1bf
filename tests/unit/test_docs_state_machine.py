"""The machines of docs/how-to/state-machine.md do what the page says."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from orchestra import Done, Undo
from orchestra.testing import run
from tests.snippets import imported

PAGE = "how-to/state-machine.md"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    with imported(PAGE, tmp_path_factory.mktemp("machine")) as modules:
        yield modules


@pytest.fixture
def loan(page: dict[str, Any]) -> Any:
    return page["loan"]


def requested(loan: Any) -> Any:
    return loan.LoanRequested(loan_id="l-1", amount=9000, clerk="carl")


def test_the_test_on_the_page(page: dict[str, Any]) -> None:
    page["test_parcel"].test_a_parcel_that_is_lost_is_searched_for_and_found()


def test_a_parcel_that_is_cancelled_comes_back(page: dict[str, Any]) -> None:
    parcel = page["parcel"]
    t = run(parcel.Parcel, parcel.ParcelRegistered(parcel_id="p-1"))
    t.cancel(reason="no longer wanted")
    assert t.states == ["under_way", "returning"]
    t.publish(parcel.HandedOver(parcel_id="p-1"))
    t.completed()


def test_a_parcel_that_is_found_nowhere_is_over(page: dict[str, Any]) -> None:
    parcel = page["parcel"]
    t = run(parcel.Parcel, parcel.ParcelRegistered(parcel_id="p-1"))
    t.advance("7d")
    t.expect(parcel.SearchParcel).reject(parcel.ParcelNowhere())
    t.completed()


def test_a_loan_is_checked_and_granted(loan: Any) -> None:
    t = run(loan.Loan, requested(loan))
    check = t.expect_call(loan.CreditCheck).plays()
    check.expect(loan.AskBureau).reply(loan.Scored(score=700))
    t.expect(loan.CheckIdentity).reply(Done())
    t.approve(by="olga", roles=["credit-officer"])

    assert t.completed(loan.LoanGranted).officer == "olga"


def test_nobody_decides_and_the_head_does(loan: Any) -> None:
    t = run(loan.Loan, requested(loan))
    t.expect_call(loan.CreditCheck).completes(loan.Checked(score=700))
    t.expect(loan.CheckIdentity).reply(Done())
    t.advance("2d")
    t.reject(by="hanna", roles=["head-of-credit"], reason="too much")

    assert t.completed(loan.LoanDeclined).reason == "too much"


def test_a_loan_that_is_withdrawn_undoes_its_check(loan: Any) -> None:
    t = run(loan.Loan, requested(loan))
    check = t.expect_call(loan.CreditCheck).plays()
    identity = t.expect(loan.CheckIdentity)
    t.publish(loan.LoanWithdrawn(loan_id="l-1"))
    check.expect(loan.AskBureau).reply(loan.Scored(score=700))
    check.expect(Undo[loan.AskBureau]).reply(Done())
    check.compensated()
    identity.reply(Done())

    t.completed()
