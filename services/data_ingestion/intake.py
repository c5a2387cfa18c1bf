"""intake: is a file what it should be, and what is in it?

Both handlers are plain functions: they run in a thread, and what they do can be done again without harm.
"""

import csv
from collections.abc import Iterator

from pydantic import ValidationError

from orchestra import Service
from services.data_ingestion.bucket import Bucket, open_bucket
from services.data_ingestion.messages import CheckFormat, FileMalformed, FormatFine, Parsed, ParseFile
from services.data_ingestion.observation import COLUMNS, OBSERVATIONS, Observation

intake = Service("intake")
intake.resource(open_bucket)


@intake.handles(CheckFormat, timeout="10s")
def check_format(command: CheckFormat, bucket: Bucket) -> FormatFine | FileMalformed:
    """A file has the header that was agreed on, and every line has as many fields."""
    lines = list(csv.reader(bucket.read(f"uploads/{command.file}").splitlines()))
    if not lines or tuple(lines[0]) != COLUMNS:
        return FileMalformed(line=1, problem=f"the header is not {','.join(COLUMNS)}")
    for number, fields in enumerate(lines, 1):
        if len(fields) != len(COLUMNS):
            return FileMalformed(line=number, problem=f"{len(fields)} fields, not {len(COLUMNS)}")
    return FormatFine(lines=len(lines) - 1)


@intake.handles(ParseFile, timeout="10s")
def parse_file(command: ParseFile, bucket: Bucket) -> Parsed | FileMalformed:
    """Every line is an observation; they are staged as JSON."""
    rows: list[Observation] = []
    for number, line in _numbered(bucket.read(f"uploads/{command.file}")):
        try:
            rows.append(Observation.model_validate(line))
        except ValidationError as error:
            first = error.errors()[0]
            return FileMalformed(line=number, problem=f"{first['loc'][0]}: {first['msg']}")
    staged = f"parsed/{command.file}.json"
    bucket.write(staged, OBSERVATIONS.dump_json(rows).decode())
    return Parsed(staged=staged, rows=len(rows))


def _numbered(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    yield from enumerate(csv.DictReader(text.splitlines()), 2)
