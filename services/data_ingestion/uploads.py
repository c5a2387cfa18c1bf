"""What is uploaded? ``weather.csv`` by the week; one file in twenty is damaged on its way."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path

WEATHER = Path(__file__).parent / "weather.csv"


@dataclass(frozen=True)
class Upload:
    """A file as it is meant, and as it arrives."""

    name: str
    text: str
    arrives: str

    @property
    def is_damaged(self) -> bool:
        return self.arrives != self.text


def uploads() -> Iterator[Upload]:
    header, *lines = WEATHER.read_text().splitlines()
    for number, (week, rows) in enumerate(groupby(lines, _week)):
        whole = [header, *rows]
        text = "\n".join(whole) + "\n"
        yield Upload(f"seattle-{week}.csv", text, _damaged(number // 20, whole) if number % 20 == 10 else text)


def _week(line: str) -> str:
    year, week, _ = date.fromisoformat(line.partition(",")[0].replace("/", "-")).isocalendar()
    return f"{year}-w{week:02}"


def _damaged(kind: int, lines: list[str]) -> str:
    """Another column, a line that is cut off, or a word where a number should be."""
    header, first, *rest = lines
    match kind % 3:
        case 0:
            header = header.replace("temp_max,temp_min", "temp_low,temp_high")
        case 1:
            rest[-1] = rest[-1][: len(rest[-1]) // 2]
        case _:
            fields = first.split(",")
            first = ",".join([fields[0], "trace", *fields[2:]])
    return "\n".join([header, first, *rest]) + "\n"
