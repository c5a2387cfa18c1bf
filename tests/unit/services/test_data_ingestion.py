"""Data ingestion: the handlers by themselves, and files on their way through the whole."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path
from typing import Literal

import pytest

import orchestra
from orchestra import Done, Undo
from orchestra.testing import run
from orchestra.testing.memory import published, running_in_memory
from services.data_ingestion.app import app, ingestion
from services.data_ingestion.bucket import Bucket
from services.data_ingestion.demo import reconcile
from services.data_ingestion.enrichment import enrich
from services.data_ingestion.flow import Ingestion
from services.data_ingestion.intake import check_format, parse_file
from services.data_ingestion.messages import (
    CheckFormat,
    Enriched,
    EnrichRows,
    FileLoaded,
    FileMalformed,
    FileUploaded,
    FormatFine,
    Loaded,
    LoadRows,
    Parsed,
    ParseFile,
)
from services.data_ingestion.observation import OBSERVATIONS, Observation
from services.data_ingestion.uploads import uploads
from services.demo_kit.reconcile import Books
from tests.unit.services.conftest import journal, operate, until

HEADER = "date,precipitation,temp_max,temp_min,wind,weather"


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return Bucket(tmp_path / "bucket")


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (f"{HEADER}\n2012/01/01,0.0,12.8,5.0,4.7,drizzle\n", FormatFine(lines=1)),
        (f"{HEADER},more\n", FileMalformed(line=1, problem=f"the header is not {HEADER}")),
        ("", FileMalformed(line=1, problem=f"the header is not {HEADER}")),
        (f"{HEADER}\n2012/01/01,0.0,12.8\n", FileMalformed(line=2, problem="3 fields, not 6")),
    ],
)
def test_the_format_is_checked_by_line(bucket: Bucket, text: str, outcome: FormatFine | FileMalformed) -> None:
    bucket.write("uploads/a.csv", text)

    assert check_format(CheckFormat(file="a.csv"), bucket) == outcome


def test_what_is_parsed_is_staged(bucket: Bucket) -> None:
    bucket.write("uploads/a.csv", f"{HEADER}\n2012/01/01,0.0,12.8,5.0,4.7,drizzle\n")

    outcome = parse_file(ParseFile(file="a.csv"), bucket)

    assert outcome == Parsed(staged="parsed/a.csv.json", rows=1)
    [row] = OBSERVATIONS.validate_json(bucket.read("parsed/a.csv.json"))
    assert (row.date, row.temp_max) == (date(2012, 1, 1), 12.8)


def test_a_word_where_a_number_should_be_is_named_with_its_line(bucket: Bucket) -> None:
    bucket.write("uploads/a.csv", f"{HEADER}\n2012/01/01,trace,12.8,5.0,4.7,drizzle\n")

    outcome = parse_file(ParseFile(file="a.csv"), bucket)

    assert isinstance(outcome, FileMalformed)
    assert outcome.line == 2
    assert outcome.problem.startswith("precipitation: ")


def test_a_row_gets_season_mean_and_force_of_the_wind() -> None:
    row = Observation(date=date(2012, 12, 1), precipitation=0, temp_max=10, temp_min=5, wind=5.5, weather="sun")

    enriched = enrich(row)

    assert (enriched.season, enriched.temp_mean, enriched.wind_force) == ("winter", 7.5, 4)


def test_one_upload_in_twenty_is_damaged() -> None:
    files = list(uploads())

    assert len({file.name for file in files}) == len(files)
    assert Counter(file.is_damaged for file in files) == {False: 200, True: 10}


def test_a_malformed_file_halts_until_somebody_retries() -> None:
    t = run(Ingestion, FileUploaded(file="a.csv"))
    t.expect(CheckFormat).reply(FormatFine(lines=7))

    t.expect(ParseFile).reject(FileMalformed(line=2, problem="precipitation: no number"))

    t.halted()
    t.nothing_sent()
    t.retry()
    t.expect(ParseFile).reply(Parsed(staged="parsed/a.csv.json", rows=7))
    t.expect(EnrichRows).reply(Enriched(staged="enriched/a.csv.json"))
    t.expect(LoadRows(file="a.csv", staged="enriched/a.csv.json")).reply(Loaded(rows=7))
    assert t.completed(FileLoaded).rows == 7


def test_a_cancelled_load_that_may_have_happened_is_taken_out() -> None:
    t = run(Ingestion, FileUploaded(file="a.csv"))
    t.expect(CheckFormat).reply(FormatFine(lines=7))
    t.expect(ParseFile).reply(Parsed(staged="parsed/a.csv.json", rows=7))
    t.expect(EnrichRows).reply(Enriched(staged="enriched/a.csv.json"))
    for _ in range(3):
        t.expect(LoadRows).times_out()
    t.halted()

    t.cancel(reason="another file replaces it")

    t.expect(Undo[LoadRows]).reply(Done())
    t.compensated()


@pytest.mark.parametrize("how", ["retry", "restart"])
async def test_a_damaged_file_halts_and_goes_on_once_it_is_mended(data: Path, how: Literal["retry", "restart"]) -> None:
    bucket, files = Bucket(data / "bucket"), list(uploads())[9:12]
    for file in files:
        bucket.write(f"uploads/{file.name}", file.arrives)
    [damaged] = [file for file in files if file.is_damaged]

    async with running_in_memory(app) as log, orchestra.connect(transport=log) as bus:
        await bus.publish(*(FileUploaded(file=file.name) for file in [*files, files[0]]))
        await until(lambda: len(published(log, FileLoaded)) == 2 and '"halted"' in journal(log, ingestion))

        bucket.write(f"uploads/{damaged.name}", damaged.text)
        await operate(log, ingestion, how, f"ingestion/{damaged.name}")
        await until(lambda: len(published(log, FileLoaded)) == 3)

    assert [finding for finding in reconcile(Books(data), files) if not finding.holds] == []
