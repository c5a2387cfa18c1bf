"""Where do Kafka's jars come from? From Maven Central through jgo, once, into the user's cache.

The cache holds, per Kafka version, one directory that appears in one rename when it is complete:

    kafka-4.3.1/libs/*.jar                what `java -cp` gets
    kafka-4.3.1/jars.json                 their names and sizes
    kafka-4.3.1/bootstrap.checkpoint      what formatting writes; the same for every cluster of that version

A directory that is there needs no resolver, no network and no jgo.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING

from orchestra.errors import LocalKafkaError
from orchestra.testing.kafka_java import INSTALL_HINT, Java, find_java
from orchestra.testing.kafka_lock import exclusive

if TYPE_CHECKING:
    from rich.console import Console

KAFKA_VERSION = "4.3.1"
COORDINATES = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")
JARS_SHA256 = "b7be1a95dcd62eb05100c88f2a0b3a62fe31f42a7abb246963c8387308a3c0b3"
"""Over the lines ``<sha256>  <name>`` of all jars, sorted: nothing else than these files is ever run."""

_JARS_BYTES = 45_025_660


@dataclass(frozen=True, slots=True)
class KafkaJars:
    """Kafka's program files, complete and ready to run."""

    directory: Path

    @property
    def class_path(self) -> str:
        """One argument for ``java -cp``: the JVM itself expands the star."""
        return str(self.directory / "libs" / "*")

    @property
    def bootstrap_checkpoint(self) -> Path:
        """The file that makes a node's empty directory a formatted one."""
        return self.directory / "bootstrap.checkpoint"


@dataclass(frozen=True, slots=True)
class Program:
    """What it takes to run Kafka on this machine."""

    java: Java
    jars: KafkaJars


def find_program(console: Console | None = None) -> Program:
    """Java and the jars; raises and blocks as :func:`find_java` and :func:`kafka_jars` do."""
    java = find_java()
    return Program(java, kafka_jars(java, console=console))


def cache_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Where orchestra keeps what can be had again: ``ORCHESTRA_CACHE``, else ``orchestra`` in the user's cache."""
    if own := environ.get("ORCHESTRA_CACHE"):
        return Path(own).expanduser().absolute()
    if xdg := environ.get("XDG_CACHE_HOME"):
        return Path(xdg).expanduser().absolute() / "orchestra"
    return Path.home() / ".cache" / "orchestra"


def kafka_jars(java: Java, *, cache: Path | None = None, console: Console | None = None) -> KafkaJars:
    """Kafka's jars from the cache; the first time they are downloaded (45 MB), which blocks for 10-30 s.

    Idempotent, and safe when several processes ask at once: one downloads, the others wait for it.

    Args:
        java: runs the one formatting step of a new cache.
        cache: the cache directory; default :func:`cache_directory`.
        console: shows what is going on; default is silence.

    Raises:
        LocalKafkaError: the extra is not installed, the download failed, or it is not what was expected.
    """
    root = cache or cache_directory()
    jars = KafkaJars(root / f"kafka-{KAFKA_VERSION}")
    if _is_complete(jars):
        return jars
    with exclusive(root / ".lock"):
        if not _is_complete(jars):  # another process may have done it meanwhile
            _install(jars, java, console)
    return jars


def jars_digest(libs: Path) -> str:
    """The SHA-256 over names and contents of the jars in a directory."""
    lines = sorted(f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {jar.name}\n" for jar in libs.glob("*.jar"))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _is_complete(jars: KafkaJars) -> bool:
    try:
        listed: dict[str, int] = json.loads((jars.directory / "jars.json").read_text())
        sizes = {jar.name: jar.stat().st_size for jar in (jars.directory / "libs").glob("*.jar")}
    except (OSError, ValueError):
        return False
    # Cleaners of caches delete single files: then everything is fetched anew.
    return sizes == listed and jars.bootstrap_checkpoint.is_file()


def _install(jars: KafkaJars, java: Java, console: Console | None) -> None:
    if util.find_spec("jgo") is None:
        raise LocalKafkaError(f"Kafka's jars are not in {jars.directory}, and jgo fetches them: {INSTALL_HINT}")
    with tempfile.TemporaryDirectory(prefix="download-", dir=jars.directory.parent) as scratch:
        fresh = KafkaJars(Path(scratch, "kafka"))
        (fresh.directory / "libs").mkdir(parents=True)
        _download(fresh.directory / "libs", Path(scratch, "repository"), console, jars.directory)
        if (digest := jars_digest(fresh.directory / "libs")) != JARS_SHA256:
            raise LocalKafkaError(
                f"The downloaded files are not Kafka {KAFKA_VERSION} as it was published "
                f"(SHA-256 {digest}). Check {_repository()} and try again."
            )
        _write_checkpoint(fresh, java, Path(scratch))
        sizes = {jar.name: jar.stat().st_size for jar in (fresh.directory / "libs").glob("*.jar")}
        (fresh.directory / "jars.json").write_text(json.dumps(sizes, indent=1))
        shutil.rmtree(jars.directory, ignore_errors=True)
        fresh.directory.rename(jars.directory)


def _repository() -> str:
    return os.environ.get("ORCHESTRA_MAVEN_URL", "https://repo.maven.apache.org/maven2").rstrip("/")


def _download(libs: Path, scratch: Path, console: Console | None, goal: Path) -> None:
    from orchestra.testing.kafka_download import download, shown_on

    if console is not None:
        console.print(f"Apache Kafka {KAFKA_VERSION}, this once: 45 MB from Maven Central into {goal}", soft_wrap=True)
    try:
        with shown_on(console, _JARS_BYTES) as watcher:
            download(COORDINATES, _repository(), libs, scratch, watcher)
    except (OSError, RuntimeError, ValueError, SyntaxError) as error:
        raise LocalKafkaError(
            f"Kafka's jars could not be fetched from {_repository()}: {error}. Check the network (HTTPS_PROXY is "
            "honoured), or name a mirror of Maven Central in ORCHESTRA_MAVEN_URL. For tests, "
            "ORCHESTRA_TEST_KAFKA=host:port uses a Kafka that runs already."
        ) from error


def _write_checkpoint(jars: KafkaJars, java: Java, scratch: Path) -> None:
    # Formatting starts a JVM (1 s a node). All it decides is the feature levels, which go with the version: do it once.
    settings = scratch / "format.properties"
    settings.write_text(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:1\n"
        "listeners=PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:1\ncontroller.listener.names=CONTROLLER\n"
        f"log.dirs={scratch / 'formatted'}\n"
    )
    command = [str(java.executable), "-cp", jars.class_path, "kafka.tools.StorageTool", "format", "-t", "A" * 22]
    done = subprocess.run([*command, "-c", str(settings)], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise LocalKafkaError(f"Kafka {KAFKA_VERSION} does not run on {java.executable}: {done.stderr[-2000:]}")
    (scratch / "formatted" / "bootstrap.checkpoint").rename(jars.bootstrap_checkpoint)
