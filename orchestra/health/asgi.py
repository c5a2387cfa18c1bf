"""What do ``/live``, ``/ready`` and ``/lag`` answer? A plain ASGI application, and the JSON that it sends.

It can be mounted in an application of yours, beside or instead of ``orchestra run --health``:
``api.mount("/health", health_app(source))``.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import asdict
from typing import Any

from orchestra.health.judge import Health

Report = dict[str, Any]
"""Health as JSON: ``live`` and ``ready``, each with ``ok``, ``problems`` and ``notes``, and ``lag``, a list of rows."""
Source = Callable[[bool], Awaitable[Report]]
"""Gives a report. True: with ends of partitions that are a second old at most; False: at once."""
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def report_of(health: Health) -> Report:
    """Health as JSON."""
    return {
        "live": health.live.as_json(),
        "ready": health.ready.as_json(),
        "lag": [asdict(each) for each in health.lag],
    }


def merged(reports: Mapping[int, Report | None]) -> Report:
    """One report of several workers: well where all are. One that says nothing (None) does not run or does not answer:
    it is started again, or killed, by its parent, so it makes the whole not ready, and no more."""
    said = {number: report for number, report in reports.items() if report is not None}
    errors = [f"worker {number}: {report['error']}" for number, report in said.items() if report.get("error")]
    silent = [f"worker {number} does not answer" for number in reports.keys() - said.keys()]
    return {
        "live": _all_of("live", said, notes=silent),
        "ready": _all_of("ready", said, problems=silent),
        "lag": [{"worker": number, **row} for number, report in said.items() for row in report["lag"]],
        "error": "; ".join([*silent, *errors]) or None,
    }


def health_app(source: Source) -> App:
    """An ASGI application that answers ``GET /live``, ``/ready`` and ``/lag`` with JSON: 200 where all is well, else
    503. ``/lag`` is 503 where brokers did not say how far the partitions reach."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        status, body = await answer(scope["method"], _path(scope), source)
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return app


async def answer(method: str, path: str, source: Source) -> tuple[int, bytes]:
    """Status and body of one request."""
    question = path.strip("/")
    if question not in ("live", "ready", "lag"):
        return 404, _json({"error": "ask for /live, /ready or /lag"})
    if method not in ("GET", "HEAD"):
        return 405, _json({"error": "GET or HEAD"})
    report = await source(question == "lag")
    if question != "lag":
        return (200 if report[question]["ok"] else 503), _json(report[question])
    rows = report["lag"]
    is_known = not report.get("error") and all(row["end"] is not None for row in rows)
    return (200 if is_known else 503), _json({"groups": _by_group(rows), "error": report.get("error")})


def _path(scope: Scope) -> str:
    """Where it is mounted does not matter."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _by_group(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        rest = {name: value for name, value in row.items() if name not in ("unit", "group")}
        groups.setdefault((row["unit"], row["group"]), []).append(rest)
    return [_group(unit, group, partitions) for (unit, group), partitions in sorted(groups.items())]


def _group(unit: str, group: str, partitions: list[dict[str, Any]]) -> dict[str, Any]:
    lags = [row["lag"] for row in partitions]
    ages = [row["age"] for row in partitions if row["age"] is not None]
    return {
        "unit": unit,
        "group": group,
        "lag": None if None in lags else sum(lags),
        "age": max(ages, default=None),
        "partitions": sorted(partitions, key=lambda row: (row["topic"], row["partition"])),
    }


def _all_of(
    question: str, said: Mapping[int, Report], *, problems: Iterable[str] = (), notes: Iterable[str] = ()
) -> dict[str, Any]:
    def texts(kind: str) -> list[str]:
        return [f"worker {number}: {text}" for number, report in said.items() for text in report[question][kind]]

    problems = [*problems, *texts("problems")]
    return {"ok": not problems, "problems": problems, "notes": [*notes, *texts("notes")]}


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
