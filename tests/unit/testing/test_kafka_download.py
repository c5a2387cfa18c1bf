from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from orchestra.testing.kafka_download import download

POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>org.example</groupId><artifactId>{name}</artifactId><version>1</version><dependencies>{needs}</dependencies>
</project>"""
NEEDS = """<dependency><groupId>org.example</groupId><artifactId>{name}</artifactId><version>1</version>
<scope>{scope}</scope></dependency>"""


class Repository:
    """A Maven repository in memory, that can be told to fail."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.failures: dict[str, int] = {}
        self.url = ""

    def add(self, name: str, *needs: tuple[str, str]) -> None:
        listed = "".join(NEEDS.format(name=needed, scope=scope) for needed, scope in needs)
        self.files[f"/org/example/{name}/1/{name}-1.pom"] = POM.format(name=name, needs=listed).encode()
        self.files[f"/org/example/{name}/1/{name}-1.jar"] = name.encode()


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    content = Repository()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = content.files.get(self.path)
            failures = content.failures.get(self.path, 0)
            content.failures[self.path] = failures - 1
            self.send_response(404 if body is None else 503 if failures > 0 else 200)
            self.send_header("content-length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    content.url = f"http://127.0.0.1:{server.server_port}"
    yield content
    server.shutdown()
    server.server_close()
    thread.join()


class Seen:
    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0

    def resolved(self, files: int) -> None:
        self.files = files

    def received(self, size: int) -> None:
        self.bytes += size


def fetch(repository: Repository, directory: Path) -> Seen:
    seen = Seen()
    (directory / "libs").mkdir()
    download(("org.example:app:1",), repository.url, directory / "libs", directory / "scratch", seen)
    return seen


def test_what_is_needed_at_run_time_is_fetched_and_nothing_else(repository: Repository, tmp_path: Path) -> None:
    repository.add("app", ("lib", "compile"), ("driver", "runtime"), ("junit", "test"))
    for name in ("lib", "driver", "junit"):
        repository.add(name)

    seen = fetch(repository, tmp_path)

    jars = {path.name: path.read_bytes() for path in (tmp_path / "libs").iterdir()}
    assert jars == {"app-1.jar": b"app", "lib-1.jar": b"lib", "driver-1.jar": b"driver"}
    assert (seen.files, seen.bytes) == (3, len("app" + "lib" + "driver"))


def test_a_server_that_fails_twice_is_asked_again(repository: Repository, tmp_path: Path) -> None:
    repository.add("app")
    repository.failures["/org/example/app/1/app-1.jar"] = 2

    fetch(repository, tmp_path)

    assert (tmp_path / "libs" / "app-1.jar").read_bytes() == b"app"


def test_a_file_that_stays_away_is_an_error_and_leaves_no_part(repository: Repository, tmp_path: Path) -> None:
    repository.add("app")
    repository.failures["/org/example/app/1/app-1.jar"] = 99

    with pytest.raises(OSError, match="503"):
        fetch(repository, tmp_path)

    assert list(tmp_path.rglob("app-1.jar")) == []
