"""Where do files lie? In a folder that stands for an object store: what is uploaded, and what is staged."""

import os
from collections.abc import AsyncIterator
from pathlib import Path


class Bucket:
    """Files by name. Writing one replaces it as a whole, so that doing it twice is doing it once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> str:
        return (self._folder / name).read_text()

    def write(self, name: str, text: str) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_suffix(f".{os.getpid()}")
        half.write_text(text)
        half.replace(path)


async def open_bucket() -> AsyncIterator[Bucket]:
    yield Bucket(Path(os.environ.get("SERVICES_DATA", ".demo/data")) / "bucket")
