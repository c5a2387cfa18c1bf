from __future__ import annotations

from typing import Any

from bench.contestants.publishers import CONTESTANTS
from bench.figures import Figure
from bench.publishing import BATCHES, MANY, NAMES, ONE, PEER, RAW, figures


def told(us: float) -> dict[str, Any]:
    return {"records": 100_000, "cpu_seconds": us / 10, "seconds": 1.0}


def runs(*, raw: list[float], many: list[float]) -> dict[str, list[dict[str, Any]]]:
    others = {who: [told(10.0)] * len(raw) for who in (BATCHES, ONE, PEER)}
    return {RAW: [told(us) for us in raw], MANY: [told(us) for us in many], **others}


def named(found: list[Figure], part: str) -> Figure:
    return next(figure for figure in found if part in figure.name)


def test_ratio_is_one_of_the_same_round_and_has_its_target() -> None:
    found = figures(runs(raw=[18, 36, 18], many=[6, 12, 9]), missing=0)

    ratio = named(found, "ours / aiokafka send")
    assert (round(ratio.value, 3), ratio.holds) == (0.333, True)
    assert ratio.note == "rounds 0.33-0.50; least / least 0.33"
    assert named(found, NAMES[RAW]).value == 1.8
    assert named(found, NAMES[RAW]).note == "100,000/s"


def test_too_dear_and_missing_records_are_told() -> None:
    found = figures(runs(raw=[18], many=[10]), missing=3)

    assert [figure.name for figure in found if figure.holds is False] == [
        "publishing: CPU, ours / aiokafka send",
        "publishing: records missing or too many",
    ]


def test_every_contestant_can_be_run() -> None:
    assert set(NAMES) == set(CONTESTANTS)
