"""Does misuse fail type checking, on its line and with words that help? And does what is right pass?

The files beside this one are checked by mypy and pyright, once each. In a ``misuse_*.py`` the comments above a line say
what each checker must say about it: parts of its message. Every other line must be free of errors.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FILES = sorted(HERE.glob("good_*.py")) + sorted(HERE.glob("misuse_*.py"))
EXPECTATION = re.compile(r"\s*# (mypy|pyright) says: (.+)")

Errors = dict[tuple[str, int], str]
"""(file, line) -> all that was said about it."""


def expected(checker: str) -> dict[tuple[str, int], list[str]]:
    found: dict[tuple[str, int], list[str]] = {}
    for file in FILES:
        parts: list[str] = []
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if match := EXPECTATION.fullmatch(line):
                parts += [match[2]] if match[1] == checker else []
            elif parts:
                found[file.name, number] = parts
                parts = []
    return found


def said_by_mypy() -> Errors:
    command = [sys.executable, "-m", "mypy", "--explicit-package-bases", "--hide-error-context", "--no-pretty", *FILES]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    errors: Errors = defaultdict(str)
    for line in output.splitlines():
        if match := re.fullmatch(r"(.+?):(\d+): error: (.+)", line):
            errors[Path(match[1]).name, int(match[2])] += match[3] + "\n"
    assert errors, output
    return errors


def said_by_pyright() -> Errors:
    command = [sys.executable, "-m", "pyright", "--outputjson", *FILES]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    errors: Errors = defaultdict(str)
    for one in json.loads(output)["generalDiagnostics"]:
        errors[Path(one["file"]).name, one["range"]["start"]["line"] + 1] += one["message"].replace("\xa0", " ") + "\n"
    assert errors, output
    return errors


@pytest.mark.timeout(300)
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_misuse_is_an_error_on_its_line_and_nothing_else_is(checker: str) -> None:
    wanted = expected(checker)
    said = said_by_mypy() if checker == "mypy" else said_by_pyright()

    assert set(said) == set(wanted)
    for place, parts in wanted.items():
        for part in parts:
            assert part in said[place], f"{place}: {said[place]}"


def test_every_misuse_is_expected_of_both_checkers() -> None:
    assert set(expected("mypy")) == set(expected("pyright"))
    assert len(expected("mypy")) >= 20
