"""What do the flow and its three services say to each other? Names of files, never what is in them."""

from typing import Never

from orchestra import Command, Event, Key


class FileUploaded(Event, type="ingestion.file.uploaded.v1", topic="ingestion.files"):
    file: Key[str]


class FileLoaded(Event, type="ingestion.file.loaded.v1", topic="ingestion.files"):
    file: Key[str]
    rows: int


# intake


class FormatFine(Event, type="intake.format.fine.v1"):
    lines: int


class FileMalformed(Event, type="intake.file.malformed.v1"):
    line: int
    problem: str


class CheckFormat(Command[FormatFine, FileMalformed], type="intake.format.check.v1", topic="intake.commands"):
    file: Key[str]


class Parsed(Event, type="intake.file.parsed.v1"):
    staged: str
    rows: int


class ParseFile(Command[Parsed, FileMalformed], type="intake.file.parse.v1", topic="intake.commands"):
    file: Key[str]


# enrichment


class Enriched(Event, type="enrichment.rows.enriched.v1"):
    staged: str


class EnrichRows(Command[Enriched, Never], type="enrichment.rows.enrich.v1", topic="enrichment.commands"):
    file: Key[str]
    staged: str


# warehouse


class Loaded(Event, type="warehouse.rows.loaded.v1"):
    rows: int


class LoadRows(Command[Loaded, Never], type="warehouse.rows.load.v1", topic="warehouse.commands"):
    file: Key[str]
    staged: str
