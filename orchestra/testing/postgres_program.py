"""Where does a PostgreSQL server's program come from? Found on this machine, else fetched with Debian's own client.

Looked for on the PATH, then where Debian and Ubuntu keep it. Where there is none, the packages are downloaded with
``apt-get`` and unpacked into a folder of their own: nothing is installed, no server is set up, root is not needed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestra.errors import LocalPostgresError
from orchestra.testing.kafka_jars import cache_directory
from orchestra.testing.kafka_lock import exclusive

if TYPE_CHECKING:
    from rich.console import Console

_DEBIAN = Path("/usr/lib/postgresql")
_OLDEST = 13
"""Older versions are no longer maintained, and lack ``DROP DATABASE ... WITH (FORCE)``."""
_REMEDY = (
    "Install it (Debian, Ubuntu: apt-get install postgresql; macOS: brew install postgresql), or name a server in "
    "ORCHESTRA_TEST_POSTGRES=postgresql://user:password@host:port/database"
)


@dataclass(frozen=True, slots=True)
class PostgresProgram:
    """A server's program files.

    Attributes:
        bin: the folder of ``postgres`` and ``initdb``.
        libraries: a folder of shared libraries that they need and the system lacks, if any.
    """

    bin: Path
    libraries: Path | None = None


def find_postgres(console: Console | None = None) -> PostgresProgram:
    """The program; the first time it may be downloaded, which blocks for about half a minute.

    Args:
        console: shows what is fetched, and where to.

    Raises:
        LocalPostgresError: there is none, and none could be fetched; says what to do.
    """
    return installed(os.environ.get("PATH", ""), _DEBIAN) or _fetched(console)


def installed(path: str, versions: Path) -> PostgresProgram | None:
    """The program on that PATH, else the newest in a folder of versions, as Debian keeps them."""
    found = shutil.which("postgres", path=path)
    folders = [Path(found).resolve().parent] if found else []
    for folder in (*folders, *_newest_first(versions)):
        if (folder / "postgres").is_file() and (folder / "initdb").is_file():
            return PostgresProgram(folder)
    return None


def _newest_first(versions: Path) -> Iterable[Path]:
    numbers = [int(folder.name) for folder in versions.glob("*") if folder.name.isdigit()]
    return [versions / str(number) / "bin" for number in sorted(numbers, reverse=True) if number >= _OLDEST]


# ---- fetching


def unpacking_directory() -> Path:
    """Where fetched packages are unpacked. Root's server runs as another user, who cannot look into root's home."""
    if os.geteuid() == 0 and "ORCHESTRA_CACHE" not in os.environ:
        return Path("/var/cache/orchestra/postgresql")
    return cache_directory() / "postgresql"


def _fetched(console: Console | None) -> PostgresProgram:
    goal = unpacking_directory()
    if (known := _unpacked(goal)) is not None:
        return known
    for command in ("apt-get", "dpkg-deb"):
        if shutil.which(command) is None:
            raise LocalPostgresError(f"There is no PostgreSQL on this machine, and no {command} to get it. {_REMEDY}")
    with exclusive(goal.parent / ".postgresql.lock"):
        if _unpacked(goal) is None:  # another process may have done it meanwhile
            _fetch(goal, console)
    if (found := _unpacked(goal)) is None:
        raise LocalPostgresError(f"Debian's packages in {goal} hold no PostgreSQL server. {_REMEDY}")
    return found


def _unpacked(goal: Path) -> PostgresProgram | None:
    found = installed("", goal / "usr" / "lib" / "postgresql")
    if found is None:
        return None
    libraries = next(iter(sorted((goal / "usr" / "lib").glob("*-linux-*"))), None)
    return PostgresProgram(found.bin, libraries)


def _fetch(goal: Path, console: Console | None) -> None:
    with tempfile.TemporaryDirectory(prefix="download-", dir=goal.parent) as scratch:
        os.chmod(scratch, 0o755)  # what is unpacked here is run by another user
        apt = _Apt(Path(scratch))
        if console is not None:
            console.print(
                "There is no PostgreSQL on this machine. Fetching Debian's packages with apt-get, this once (about "
                f"45 MB, 120 MB unpacked), into {goal}; nothing is installed",
                soft_wrap=True,
            )
        apt.run("update", "-qq")
        packages = needed_packages(apt.run("install", "-s", "--no-install-recommends", "postgresql"))
        apt.run("download", "-qq", *packages)
        fresh = Path(scratch, "root")
        for package in sorted(Path(scratch).glob("*.deb")):
            _run(["dpkg-deb", "-x", str(package), str(fresh)], Path(scratch))
        shutil.rmtree(goal, ignore_errors=True)
        fresh.chmod(0o755)
        fresh.rename(goal)


class _Apt:
    """apt-get with lists and locks of its own: it needs no root, and leaves the system's alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for part in ("state/lists/partial", "cache/archives/partial"):
            (folder / part).mkdir(parents=True)
        self._options = {
            "Dir::State": folder / "state",
            "Dir::State::status": "/var/lib/dpkg/status",
            "Dir::Cache": folder / "cache",
            "APT::Sandbox::User": "",
            "Debug::NoLocking": "1",
        }

    def run(self, *words: str) -> str:
        options = [word for name, value in self._options.items() for word in ("-o", f"{name}={value}")]
        return _run(["apt-get", *options, *words], self._folder)


def needed_packages(simulation: str) -> list[str]:
    """``name=version`` of the server and of the libraries that the system lacks, from what ``apt-get install -s`` says.

    Left out is what only an installed server needs: the tools around it, and the compiler of its JIT, which is off.
    """
    missing = re.findall(r"^Inst (\S+) \((\S+) ", simulation, re.MULTILINE)  # an upgrade has [its old version] between
    return [
        f"{name}={version}"
        for name, version in missing
        if re.fullmatch(r"postgresql-\d+", name) or (name.startswith("lib") and not _NEEDLESS.search(name))
    ]


_NEEDLESS = re.compile(r"^libllvm|-perl$|^libperl")


def _run(command: Sequence[str], folder: Path) -> str:
    environment = os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        tail = "\n".join(f"{done.stdout}\n{done.stderr}".strip().splitlines()[-5:])
        raise LocalPostgresError(
            f"PostgreSQL could not be fetched: {command[0]} ended with {done.returncode}:\n{tail}\n{_REMEDY}"
        )
    return done.stdout
