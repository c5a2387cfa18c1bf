from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from bench.contestants.watch import Watch

pytestmark = pytest.mark.virtual_time


async def _told(path: Path, watch: Watch) -> dict[str, float]:
    with watch.telling(path):
        while not path.exists():
            await asyncio.sleep(0.1)
    told: dict[str, float] = json.loads(path.read_text())
    return told


async def test_it_measures_from_the_warm_record_to_the_last(tmp_path: Path) -> None:
    looks: list[int] = []
    watch = Watch(10, 4, on_look=lambda: looks.append(watch.handled))
    for number in range(10):
        watch.seen(f"order-{number}")

    told = await _told(tmp_path / "told", watch)

    assert looks == [4, 10]
    assert (told["records"], told["handled"], told["distinct"]) == (6, 10, 10)
    assert watch.is_done


async def test_what_comes_twice_and_what_never_comes_is_told(tmp_path: Path) -> None:
    watch = Watch(10, 4)
    for number in (0, 1, 2, 3, 4, 4, 5):
        watch.seen(f"order-{number}")

    told = await _told(tmp_path / "told", watch)

    assert (told["handled"], told["distinct"]) == (7, 6)
