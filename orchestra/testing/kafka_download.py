"""How do Kafka's jars get here? jgo finds out which they are, and a few connections fetch them from Maven Central.

Imported only when something must be fetched: jgo and requests come with ``orchestra[local-kafka]``.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import requests
from jgo.maven import Artifact, MavenContext, PythonResolver
from requests.adapters import HTTPAdapter
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from rich.console import Console

_AT_ONCE = 8
_TRIES = 3
_TIMEOUT_SECONDS = 30


class Watcher(Protocol):
    """Is told how a download goes. Called from several threads."""

    def resolved(self, files: int) -> None: ...

    def received(self, size: int) -> None: ...


def download(coordinates: tuple[str, ...], repository: str, libs: Path, scratch: Path, watcher: Watcher) -> None:
    """Fetch what these Maven coordinates need at run time into ``libs``. Blocks.

    Raises:
        OSError, RuntimeError, ValueError, SyntaxError: the network, a missing file, or a reply that is no POM.
    """
    with requests.Session() as session:
        session.mount("https://", HTTPAdapter(pool_maxsize=_AT_ONCE))
        resolver = _Resolver(session, repository, watcher)
        context = MavenContext(resolver, scratch, remote_repos={"central": repository}, timeout=_TIMEOUT_SECONDS)
        inputs, others = resolver.resolve([context.create_dependency(text) for text in coordinates])
        needed = [*inputs, *(one for one in others if one.scope in ("compile", "runtime"))]
        watcher.resolved(len(needed))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for jar in pool.map(lambda one: one.artifact.resolve(), needed):
                jar.rename(libs / jar.name)


class _Resolver(PythonResolver):
    """jgo's resolver with a download of its own: connections are kept, and a file appears only when it is whole."""

    def __init__(self, session: requests.Session, repository: str, watcher: Watcher) -> None:
        super().__init__()
        self._session = session
        self._repository = repository
        self._watcher = watcher

    def download(self, artifact: Artifact) -> Path:
        target = artifact.cached_path
        assert target is not None, "the context has a repository of its own"
        target.parent.mkdir(parents=True, exist_ok=True)
        url = f"{self._repository}/{artifact.component.path_prefix.as_posix()}/{artifact.filename}"
        for attempt in range(1, _TRIES + 1):
            try:
                self._fetch(url, target)
                break
            except requests.RequestException:
                if attempt == _TRIES:
                    raise
                time.sleep(attempt / 4)
        return target

    def _fetch(self, url: str, target: Path) -> None:
        partial = target.with_name(target.name + ".part")
        with self._session.get(url, stream=True, timeout=_TIMEOUT_SECONDS) as answer, partial.open("wb") as file:
            answer.raise_for_status()
            for chunk in answer.iter_content(65_536):
                file.write(chunk)
                if target.suffix == ".jar":
                    self._watcher.received(len(chunk))
        partial.rename(target)


class Silent:
    """A watcher that shows nothing."""

    def resolved(self, files: int) -> None:
        del files

    def received(self, size: int) -> None:
        del size


class Bar:
    """A watcher that shows a progress bar."""

    def __init__(self, progress: Progress, expected_bytes: int) -> None:
        self._progress = progress
        self._expected = expected_bytes
        self._task = progress.add_task("finding out which jars Kafka needs", total=None)

    def resolved(self, files: int) -> None:
        self._progress.update(self._task, description=f"downloading {files} jars", total=self._expected)

    def received(self, size: int) -> None:
        self._progress.update(self._task, advance=size)


@contextmanager
def shown_on(console: Console | None, expected_bytes: int) -> Generator[Watcher]:
    """A watcher for as long as the block runs: a bar on the console, or nothing."""
    if console is None:
        yield Silent()
        return
    columns: tuple[Any, ...] = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield Bar(progress, expected_bytes)
