"""What ``orchestra new`` writes passes its own tests and strict type checking, and nothing is overwritten."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestra.cli.main import app
from orchestra.cli.new import Pattern


def new(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["new", *words])
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new")
    for pattern in Pattern:
        code, said = new("--pattern", pattern, f"my-{pattern}", "--into", str(folder))
        assert code == 0, said
    return folder


def run(folder: Path, *command: str) -> str:
    """In the folder, where the package of each service can be imported."""
    path = os.pathsep.join(str(folder / f"my-{pattern}") for pattern in Pattern)
    environment = os.environ | {"PYTHONPATH": path, "MYPYPATH": path}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(120)
def test_every_pattern_passes_its_own_tests(written: Path) -> None:
    said = run(written, "pytest", "-q", "--import-mode=importlib", "-p", "no:cacheprovider")

    assert "13 passed" in said


@pytest.mark.timeout(300)
def test_every_pattern_passes_strict_type_checking(written: Path) -> None:
    packages = [f"-pmy_{pattern.replace('-', '_')}" for pattern in Pattern]

    run(written, "mypy", "--strict", "--no-incremental", *packages)


def test_nothing_is_left_of_the_template(written: Path) -> None:
    texts = [path.read_text() for path in written.rglob("*") if path.suffix in (".py", ".md")]

    assert not any(part in text for text in texts for part in ("{name}", "{package}", "{{", "}}"))


def test_a_folder_that_exists_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()

    code, said = new("mine", "--into", str(tmp_path))

    assert code == 2
    assert "exists" in said
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.parametrize("name", ["My", "a_b", "-a", "", "a/b", "x" * 61])
def test_a_name_that_would_not_work_is_refused(tmp_path: Path, name: str) -> None:
    code, said = new("--into", str(tmp_path), "--", name)

    assert code == 2, said
    assert list(tmp_path.iterdir()) == []
