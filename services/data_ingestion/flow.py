"""What happens to a file, and in which order?"""

from orchestra import Flow, Retry, Undo, on_completed, starts_on, step
from services.data_ingestion.messages import (
    CheckFormat,
    Enriched,
    EnrichRows,
    FileLoaded,
    FileUploaded,
    Loaded,
    LoadRows,
    Parsed,
    ParseFile,
)

TRIES = Retry(attempts=3)


class Ingestion(Flow, name="ingestion", version=1):
    """Check, parse, enrich, load. A file that is malformed halts its instance, until an operator goes on with it.

    What is staged hurts nobody, so that only the load has something to undo, should somebody cancel it.
    """

    upload = starts_on(FileUploaded)

    @step(kind="read_only", timeout="30s", retry=TRIES)
    def check(self) -> CheckFormat:
        return CheckFormat(file=self.upload.file)

    @step(after=check, kind="read_only", timeout="30s", retry=TRIES)
    def parse(self) -> ParseFile:
        return ParseFile(file=self.upload.file)

    @step(parse, kind="read_only", timeout="30s", retry=TRIES)
    def enrich(self, parsed: Parsed) -> EnrichRows:
        return EnrichRows(file=self.upload.file, staged=parsed.staged)

    @step(enrich, undo=Undo, timeout="30s", retry=TRIES)
    def load(self, enriched: Enriched) -> LoadRows:
        return LoadRows(file=self.upload.file, staged=enriched.staged)

    @on_completed(load)
    def tell(self, loaded: Loaded) -> FileLoaded:
        return FileLoaded(file=self.upload.file, rows=loaded.rows)
