"""Who may change a shared directory now? One process at a time, by a lock that ends with the process."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(path: Path) -> Generator[None]:
    """Hold the lock on a file (made if missing) for as long as the block runs. Blocks until it is free."""
    import fcntl  # not on Windows, where this module must still be importable

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
