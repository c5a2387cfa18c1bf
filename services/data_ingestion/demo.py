"""``make demo-data-ingestion``: four years of weather, a file a week; some are damaged, and an operator mends them.

Environment: see ``services/demo_kit/play.py``.
"""

from __future__ import annotations

import sys

from services.data_ingestion.bucket import Bucket
from services.data_ingestion.messages import FileUploaded
from services.data_ingestion.uploads import Upload, uploads
from services.demo_kit.play import play
from services.demo_kit.reconcile import Books, Finding, settle
from services.demo_kit.stage import Stage

APP = "services.data_ingestion.app"


async def demo(stage: Stage) -> list[Finding]:
    bucket, files = Bucket(stage.data / "bucket"), list(uploads())
    damaged = [file for file in files if file.is_damaged]
    for file in files:
        bucket.write(f"uploads/{file.name}", file.arrives)
    # Every 25th file is uploaded a second time: the flow knows it by its name.
    events = [
        FileUploaded(file=file.name) for number, file in enumerate(files) for _ in range(2 if number % 25 == 0 else 1)
    ]
    async with stage.crew(APP, ["intake", "enrichment", "warehouse"], coordinator="ingestion") as crew:
        stage.say(f"uploading {len(files)} files, {len(damaged)} of them damaged\n")
        await stage.submit(crew, events, lambda event: event.file, per_second=15)
        halted = stage.progress.those("halted")
        stage.say(f"{len(halted)} instances have halted; the files are mended, and an operator goes on with them")
        for file in damaged:
            bucket.write(f"uploads/{file.name}", file.text)
        await go_on(stage, "retry", [file.name for file in damaged if file.name in halted][::2])
        await go_on(stage, "restart", [file.name for file in damaged if file.name in halted][1::2])
        findings = await settle(lambda: reconcile(Books(stage.data), files))
        waiting = await stage.instances_waiting(f"{APP}:ingestion")
    return [
        Finding("instances halted = damaged files", len(damaged), len(halted & {file.name for file in damaged})),
        *findings,
        Finding("instances left waiting", 0, waiting),
    ]


async def go_on(stage: Stage, how: str, files: list[str]) -> None:
    """Retry: from the step that failed. Restart: from the start, so that the format is checked again too."""
    await stage.orchestra("instances", how, f"{APP}:ingestion", *files, "--reason", "the file is mended", "--by", "ann")


def reconcile(books: Books, files: list[Upload]) -> list[Finding]:
    """What was uploaded, beside what is in the warehouse."""
    rows = [line.split(",") for file in files for line in file.text.splitlines()[1:]]
    twice = "select count(*) from (select 1 from observations group by date having count(*) > 1)"
    return [
        Finding("files loaded", len(files), books.number("warehouse", "select count(distinct file) from observations")),
        Finding("rows loaded", len(rows), books.number("warehouse", "select count(*) from observations")),
        Finding("days loaded twice", 0, books.number("warehouse", twice)),
        Finding(
            "rain, in tenths of a millimetre",
            sum(round(float(row[1]) * 10) for row in rows),
            books.number("warehouse", "select sum(cast(round(precipitation * 10) as integer)) from observations"),
        ),
        Finding(
            "days of snow",
            sum(row[5] == "snow" for row in rows),
            books.number("warehouse", "select count(*) from observations where weather = 'snow'"),
        ),
    ]


if __name__ == "__main__":
    sys.exit(play("data ingestion", demo))
