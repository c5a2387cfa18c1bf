"""The simulation of docs/how-to/simulate.md runs, and finds what the page says it finds."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from orchestra import Service
from orchestra.testing import Simulation, SimulationFailed
from tests.snippets import imported


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    with imported("how-to/simulate.md", tmp_path_factory.mktemp("simulate")) as modules:
        yield modules


@pytest.fixture(autouse=True)
def _no_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORCHESTRA_SEED", raising=False)


def test_the_tests_of_the_page_pass(page: dict[str, Any]) -> None:
    page["test_bank"].test_no_money_is_made_or_lost()
    page["test_bank"].test_a_bank_that_dies_in_the_middle_of_a_debit()


def test_without_the_ledger_it_fails_and_is_told_as_the_page_says(page: dict[str, Any]) -> None:
    bank, tests = page["bank"], page["test_bank"]
    careless = Service("bank")
    careless.resource(scope="call")(bank.session)

    async def take(command: Any, ctx: Any, session: Any) -> Any:
        async with session.begin():
            session["alice"] -= command.cents
        return bank.Moved(cents=command.cents)

    async def give(command: Any, ctx: Any, session: Any) -> Any:
        async with session.begin():
            session["bob"] += command.cents
        return bank.Moved(cents=command.cents)

    async def undo(command: Any, ctx: Any, session: Any) -> Any:
        async with session.begin():
            session["alice"] += command.command.cents
        return bank.Done()

    outcome = bank.Moved | bank.Refused
    for function, command, answer in (
        (take, bank.Debit, outcome),
        (give, bank.Credit, outcome),
        (undo, bank.Undo[bank.Debit], bank.Done),
    ):
        function.__annotations__ = {
            "command": command,
            "ctx": bank.Context,
            "session": bank.MemorySession,
            "return": answer,
        }
        careless.handles(command)(function)

    app = bank.App(services=[careless], coordinators=[bank.Coordinator("transfers", flows=[bank.Transfer])])
    with pytest.raises(SimulationFailed) as failed:
        Simulation(app, tests.transfers, check=tests.no_money_is_made_or_lost).explore(300)

    text = str(failed.value)
    assert "AssertionError: {'alice':" in text
    assert "bank.debit.v1 for transfer/" in text
    assert f"Repeat it with ORCHESTRA_SEED={failed.value.seed}." in text
    assert len(failed.value.run.plan.faults) == 1


def test_files_of_its_own(page: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("SERVICES_DATA", "before")
    with page["test_with_sqlite"].fresh_data():
        assert os.path.isdir(os.environ["SERVICES_DATA"])
