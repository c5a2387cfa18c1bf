"""What do the endpoints answer, and to what?"""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from orchestra.health.asgi import Report, health_app, merged, report_of
from orchestra.health.judge import Health, Lag, Verdict

LAG = Lag("payments", "shop.payments", "orders", 3, 100, 150, 50, 12.5, 30, "busy")
WELL = report_of(Health(Verdict(), Verdict(), (LAG,)))
UNWELL = report_of(Health(Verdict(("stalled",), ("slow",)), Verdict(("draining",)), ()))


class Caller:
    """Sends requests to the application, as a server would."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.fresh: list[bool] = []
        self.app = health_app(self.source)

    async def source(self, fresh: bool) -> Report:
        self.fresh.append(fresh)
        return self.report

    async def ask(self, path: str, method: str = "GET", **scope: Any) -> tuple[int, Any]:
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        await self.app({"type": "http", "method": method, "path": path, **scope}, receive, send)
        start, body = sent
        assert (b"content-type", b"application/json") in start["headers"]
        return start["status"], json.loads(body["body"]) if body["body"] else None


async def test_what_is_well_is_200() -> None:
    assert await Caller(WELL).ask("/live") == (200, {"ok": True, "problems": [], "notes": []})
    assert (await Caller(WELL).ask("/ready"))[0] == 200


async def test_what_is_not_is_503_and_says_why() -> None:
    assert await Caller(UNWELL).ask("/live") == (503, {"ok": False, "problems": ["stalled"], "notes": ["slow"]})
    assert await Caller(UNWELL).ask("/ready") == (503, {"ok": False, "problems": ["draining"], "notes": []})


async def test_lag_is_told_by_group_and_partition() -> None:
    status, body = await Caller(WELL).ask("/lag")

    assert status == 200
    (group,) = body["groups"]
    assert (group["unit"], group["group"], group["lag"], group["age"]) == ("payments", "shop.payments", 50, 12.5)
    assert group["partitions"] == [
        {
            "topic": "orders",
            "partition": 3,
            "committed": 100,
            "end": 150,
            "lag": 50,
            "age": 12.5,
            "window": 30,
            "state": "busy",
            "why": None,
        }
    ]


async def test_only_lag_waits_for_brokers() -> None:
    caller = Caller(WELL)

    for path in ("/live", "/ready", "/lag"):
        await caller.ask(path)

    assert caller.fresh == [False, False, True]


async def test_lag_that_brokers_did_not_tell_is_503_with_what_is_known() -> None:
    unknown = Lag("payments", "shop.payments", "orders", 3, 100, None, None, 12.5, 30, "busy")

    status, body = await Caller(report_of(Health(Verdict(), Verdict(), (LAG, unknown)))).ask("/lag")

    assert status == 503
    assert body["groups"][0]["lag"] is None
    assert [row["window"] for row in body["groups"][0]["partitions"]] == [30, 30]


async def test_another_path_is_404_and_another_method_405() -> None:
    assert (await Caller(WELL).ask("/"))[0] == 404
    assert (await Caller(WELL).ask("/live", "POST"))[0] == 405


async def test_a_head_request_has_no_body() -> None:
    assert await Caller(WELL).ask("/live", "HEAD") == (200, None)


async def test_it_can_be_mounted_below_any_path() -> None:
    assert (await Caller(WELL).ask("/health/live", root_path="/health"))[0] == 200
    assert (await Caller(WELL).ask("/live/", root_path="/health"))[0] == 200


async def test_it_can_be_mounted_in_a_fastapi_application() -> None:
    api = FastAPI()
    api.mount("/health", health_app(Caller(UNWELL).source))

    async with AsyncClient(transport=ASGITransport(api), base_url="http://test") as client:
        live, unknown = await client.get("/health/live"), await client.get("/health/nothing")

    assert (live.status_code, live.json()["problems"]) == (503, ["stalled"])
    assert unknown.status_code == 404


async def test_a_websocket_is_not_answered() -> None:
    async def unused(*_: Any) -> Any:
        raise AssertionError("nothing is to be sent")

    await health_app(unused)({"type": "lifespan"}, unused, unused)


@pytest.mark.parametrize(
    ("reports", "live", "ready"),
    [
        ({1: WELL, 2: WELL}, [], []),
        ({1: WELL, 2: UNWELL}, ["worker 2: stalled"], ["worker 2: draining"]),
        ({1: WELL, 2: None}, [], ["worker 2 does not answer"]),
    ],
)
def test_several_workers_are_well_when_all_are(
    reports: dict[int, Report | None], live: list[str], ready: list[str]
) -> None:
    whole = merged(reports)

    assert whole["live"]["problems"] == live
    assert whole["live"]["ok"] == (not live)
    assert whole["ready"]["problems"] == ready


def test_the_lag_of_several_workers_says_whose_it_is() -> None:
    whole = merged({1: WELL, 2: WELL})

    assert [row["worker"] for row in whole["lag"]] == [1, 2]


async def test_lag_is_incomplete_while_a_worker_does_not_answer() -> None:
    status, body = await Caller(merged({1: WELL, 2: None})).ask("/lag")

    assert status == 503
    assert body["error"] == "worker 2 does not answer"
