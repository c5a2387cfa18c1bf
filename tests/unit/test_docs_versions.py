"""Is what docs/how-to/versions.md shows what the commands say, and does its snippet work?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestra.cli import flows
from orchestra.cli.main import app
from orchestra.coordinator.versions import VersionCount, known_of, merged
from orchestra.errors import DefinitionError
from orchestra.events.message import Done
from orchestra.flows.decide import CompiledFlow
from orchestra.flows.saga import definition_of, graph_of
from orchestra.testing.story import run
from services.ecommerce_fulfilment.app import fulfilment
from services.ecommerce_fulfilment.flow_v1 import FulfilmentV1
from services.ecommerce_fulfilment.messages import (
    Billed,
    BillOrder,
    OrderFulfilled,
    OrderReceived,
    Picked,
    PickItems,
    ShipParcel,
    Shipped,
)
from tests.snippets import DOCS, imported

PAGE = "how-to/versions.md"


@pytest.fixture(scope="module")
def takeover(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    with imported(PAGE, tmp_path_factory.mktemp("versions")) as modules:
        yield modules["takeover"]


def text() -> str:
    return (DOCS / PAGE).read_text()


def without_digests(shown: str) -> str:
    return re.sub(r"\b[0-9a-f]{12}\b", "(digest)", shown)


def test_the_difference_is_told_as_on_the_page() -> None:
    shown = [line.removeprefix("$ orchestra ") for line in text().splitlines() if line.startswith("$ orchestra ")]
    command = shown[0]

    result = CliRunner().invoke(app, command.split())

    assert f"$ orchestra {command}\n{result.stdout}```" in text()


def test_an_altered_version_is_refused_as_on_the_page() -> None:
    graph = graph_of(FulfilmentV1)
    nodes = {name: node for name, node in graph.nodes.items() if name != "ship"}
    altered = CompiledFlow(replace(graph, nodes=nodes))

    with pytest.raises(DefinitionError) as caught:
        merged(known_of([definition_of(FulfilmentV1)]), known_of([altered]))

    assert f"```text\n{caught.value}\n```" in text()


def test_versions_are_listed_as_on_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    counts = [
        VersionCount("fulfilment", 1, {"running": 12, "completed": 148}),
        VersionCount("fulfilment", 2, {"running": 31, "completed": 20}),
    ]

    flows._show(flows._rows(fulfilment, counts, {}), fulfilment)

    shown = f"services.ecommerce_fulfilment.app:app\n{capsys.readouterr().out}```"
    assert without_digests(shown) in without_digests(text())


def test_an_order_under_the_version_that_takes_over(takeover: Any) -> None:
    order = OrderReceived(order_id="1", sku="lamp", quantity=1, card="c", city="Bern", total_cents=100)
    t = run(takeover.Fulfilment, order)

    t.expect(PickItems).reply(Picked(sku="lamp", quantity=1))
    t.expect(BillOrder).reply(Billed(total_cents=100))
    t.expect(ShipParcel).reply(Shipped(parcel="p-1"))
    t.expect(takeover.AskForReview).reply(Done())

    assert t.completed(OrderFulfilled).parcel == "p-1"
    assert [one.version for one in takeover.fulfilment.definitions] == [3, 2]
