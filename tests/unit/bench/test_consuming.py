from __future__ import annotations

from dataclasses import replace

from bench.consuming import OURS, PEER, RAW, SAFE_PEER, Run, figures
from bench.figures import Figure

CLEAN = Run(us=10.0, rate=1e5, lost=0, duplicates=0, uncommitted=0)


def _runs(**us: list[float]) -> dict[str, list[Run]]:
    names = {"raw": RAW, "ours": OURS, "peer": PEER, "safe_peer": SAFE_PEER}
    return {names[who].name: [replace(CLEAN, us=each) for each in several] for who, several in us.items()}


def _named(all_figures: list[Figure], part: str) -> Figure:
    return next(figure for figure in all_figures if part in figure.name)


def test_a_ratio_is_one_of_the_same_round() -> None:
    # the second round met a noisy machine: everybody took twice as long, and the ratios are as before
    runs = _runs(raw=[10, 20, 10], ours=[15, 30, 16], peer=[90, 180, 90], safe_peer=[450, 900, 480])

    found = figures(runs)

    assert _named(found, "ours / raw").value == 1.5
    assert _named(found, "ours / raw").note.startswith("rounds 1.50-1.60")
    assert _named(found, "default / ours").value == 6.0
    assert _named(found, "at least once / ours").value == 30.0
    assert all(figure.holds is not False for figure in found)


def test_missed_targets_are_told() -> None:
    found = figures(_runs(raw=[10], ours=[18], peer=[70], safe_peer=[400]))

    assert [figure.name for figure in found if figure.holds is False] == [
        "consuming: CPU, ours / raw",
        "consuming: CPU, FastStream default / ours",
        "consuming: CPU, FastStream at least once / ours",
    ]


def test_a_contestant_that_loses_repeats_or_commits_wrongly_is_named() -> None:
    runs = _runs(raw=[10], ours=[15], peer=[90], safe_peer=[450])
    runs[PEER.name] = [replace(runs[PEER.name][0], lost=3, duplicates=2, uncommitted=1)]

    found = figures(runs)

    for part, value in (("lost", 3), ("twice", 2), ("committed", 1)):
        figure = _named(found, part)
        assert (figure.value, figure.holds, figure.note) == (value, False, f"{PEER.name}: {value}")


def test_microseconds_a_record_become_seconds_for_100k() -> None:
    found = figures(_runs(raw=[9.3], ours=[15], peer=[90], safe_peer=[450]))

    assert _named(found, RAW.name).value == 0.93
