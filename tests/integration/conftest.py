"""What integration tests share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra.testing.postgres import LocalPostgres


@pytest.fixture
def own_server() -> Iterator[LocalPostgres]:
    """A PostgreSQL that one test has for itself, and may kill."""
    server = LocalPostgres.start(Path(tempfile.mkdtemp(prefix="orchestra-postgres-")))
    yield server
    server.stop()
