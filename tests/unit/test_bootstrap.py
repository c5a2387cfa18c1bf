"""Does ``.ci/bootstrap`` do what is needed on machines that lack something, and nothing when nothing is needed?

The machines here are folders of small scripts that stand for python3, apt-get and id.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PYTHON = """#!/bin/sh
# Stands for an interpreter: its version is right, whether it has venv is up to a file, and it writes down what it did.
case "$*" in
    *"sys.exit(not (3, 11)"*) exit {version} ;;
    *"import ensurepip, venv"*) test -f {machine}/has-venv ;;
    *"-venv"*) echo python3.11-venv ;;
    "--version") echo Python 3.11.2 ;;
    *"import pygraphviz"*) test ! -f {machine}/no-glib ;;
    "-m venv --clear .venv") echo made >>{machine}/did; mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
    "-m pip install"*)
        echo installed >>{machine}/did
        test ! -f {machine}/pip-fails || {{ echo "no route to host"; exit 1; }}
        ;;
esac
"""

APT_GET = """#!/bin/sh
echo "apt-get $*" >>{machine}/did
{effect}
"""


class Machine:
    """A checkout and a PATH of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkout = folder / "checkout"
        self.bin = folder / "bin"
        self.bin.mkdir()
        (self.checkout / ".ci").mkdir(parents=True)
        for name in ("pyproject.toml", ".ci/bootstrap", ".ci/constraints.txt"):
            shutil.copy(ROOT / name, self.checkout / name)

    def has(self, command: str, script: str) -> None:
        path = self.bin / command
        path.write_text(script)
        path.chmod(0o755)

    def has_python(self, command: str = "python3", *, version: int = 0) -> None:
        self.has(command, PYTHON.format(machine=self.folder, version=version))

    def has_venv(self) -> None:
        (self.folder / "has-venv").touch()

    def user_is(self, number: int) -> None:
        self.has("id", f"#!/bin/sh\necho {number}\n")

    def bootstrap(self, **environment: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(self.bin), str(self._tools())])
        return subprocess.run(
            [str(self.checkout / ".ci" / "bootstrap")],
            env={"PATH": path} | environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def _tools(self) -> Path:
        """What the script calls, and neither an interpreter nor apt-get among it."""
        tools = self.folder / "tools"
        tools.mkdir(exist_ok=True)
        for name in ("sh", "dirname", "cat", "cksum", "mkdir", "cp", "rm", "tail", "tr", "cut", "sleep", "id"):
            if (found := shutil.which(name)) and not (tools / name).exists():
                (tools / name).symlink_to(found)
        return tools

    @property
    def did(self) -> list[str]:
        path = self.folder / "did"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_first_time_makes_the_environment_and_installs(machine: Machine) -> None:
    machine.has_python()
    machine.has_venv()

    result = machine.bootstrap()

    assert result.returncode == 0, result.stderr
    assert machine.did == ["made", "installed"]


def test_a_second_time_does_nothing_and_says_nothing(machine: Machine) -> None:
    machine.has_python()
    machine.has_venv()
    machine.bootstrap()

    result = machine.bootstrap()

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert machine.did == ["made", "installed"]


def test_changed_constraints_are_installed_into_the_same_environment(machine: Machine) -> None:
    machine.has_python()
    machine.has_venv()
    machine.bootstrap()
    with (machine.checkout / ".ci" / "constraints.txt").open("a") as constraints:
        constraints.write("another==1.0\n")

    machine.bootstrap()

    assert machine.did == ["made", "installed", "installed"]


def test_an_installation_that_failed_shows_why_and_is_begun_anew(machine: Machine) -> None:
    machine.has_python()
    machine.has_venv()
    (machine.folder / "pip-fails").touch()

    failed = machine.bootstrap()

    assert failed.returncode == 1
    assert "no route to host" in failed.stderr
    (machine.folder / "pip-fails").unlink()
    assert machine.bootstrap().returncode == 0
    assert machine.did == ["made", "installed", "made", "installed"]


def test_without_a_python_that_will_do_it_says_which_would(machine: Machine) -> None:
    machine.has_python("python3", version=1)

    result = machine.bootstrap()

    assert result.returncode == 1
    assert "no Python 3.11 to 3.14 found" in result.stderr
    assert "make PYTHON=" in result.stderr


def test_an_older_python3_is_passed_over_for_a_newer_one_beside_it(machine: Machine) -> None:
    machine.has_python("python3", version=1)
    machine.has_python("python3.12")
    machine.has_venv()

    assert machine.bootstrap().returncode == 0


def test_a_python_that_is_named_is_the_only_one_tried(machine: Machine) -> None:
    machine.has_python("python3")
    machine.has_venv()

    result = machine.bootstrap(PYTHON="/no/such/python")

    assert result.returncode == 1
    assert "/no/such/python" in result.stderr


def test_where_venv_is_missing_a_user_is_told_what_to_type(machine: Machine) -> None:
    machine.has_python()
    machine.user_is(1000)
    machine.has("apt-get", APT_GET.format(machine=machine.folder, effect=""))

    result = machine.bootstrap()

    assert result.returncode == 1
    assert "sudo apt-get install python3.11-venv" in result.stderr
    assert machine.did == []


def test_where_venv_is_missing_root_gets_it_and_is_told(machine: Machine) -> None:
    machine.has_python()
    machine.user_is(0)
    machine.has("apt-get", APT_GET.format(machine=machine.folder, effect=f": >{machine.folder}/has-venv"))

    result = machine.bootstrap()

    assert result.returncode == 0, result.stderr
    assert machine.did == ["apt-get install -y -q python3.11-venv", "made", "installed"]
    assert "installing python3.11-venv with apt-get" in result.stderr


def test_where_root_cannot_get_venv_either_it_says_what_to_type(machine: Machine) -> None:
    machine.has_python()
    machine.user_is(0)
    machine.has("apt-get", APT_GET.format(machine=machine.folder, effect="exit 100"))

    result = machine.bootstrap()

    assert result.returncode == 1
    assert "sudo apt-get install python3.11-venv" in result.stderr
    assert machine.did == ["apt-get install -y -q python3.11-venv", "apt-get update -q"]


def test_where_graphviz_lacks_a_library_root_gets_it_and_is_told(machine: Machine) -> None:
    machine.has_python()
    machine.has_venv()
    machine.user_is(0)
    (machine.folder / "no-glib").touch()
    machine.has("apt-get", APT_GET.format(machine=machine.folder, effect=f"rm {machine.folder}/no-glib"))

    result = machine.bootstrap()

    assert result.returncode == 0, result.stderr
    assert machine.did[-1].startswith("apt-get install -y -q libexpat1 libglib2.0-0")
    assert "Graphviz cannot be loaded; installing" in result.stderr


def test_where_graphviz_lacks_a_library_a_user_is_told_and_everything_else_is_ready(machine: Machine) -> None:
    machine.has_python()
    machine.has_venv()
    machine.user_is(1000)
    (machine.folder / "no-glib").touch()

    result = machine.bootstrap()

    assert result.returncode == 0, result.stderr
    assert "sudo apt-get install libexpat1 libglib2.0-0" in result.stderr
    assert machine.did == ["made", "installed"]
