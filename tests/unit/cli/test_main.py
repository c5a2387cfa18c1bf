from __future__ import annotations

import subprocess
import sys

from typer.testing import CliRunner

from orchestra.cli.main import app


def test_help_waits_for_nothing_slow() -> None:
    slow = "{'aiokafka', 'jgo', 'pydantic', 'sqlalchemy'}"
    program = f"import sys, orchestra.cli.main; print(sorted({slow} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_an_error_that_orchestra_raised_is_a_sentence_and_exit_code_1() -> None:
    result = CliRunner().invoke(app, ["kafka", "status", "--name", "../elsewhere"])

    assert result.exit_code == 1
    assert result.stderr.startswith("orchestra: '../elsewhere' cannot be a cluster's name")
    assert "Traceback" not in result.output


def test_a_wrong_command_line_is_exit_code_2() -> None:
    assert CliRunner().invoke(app, ["kafka", "up", "--brokers", "0"]).exit_code == 2


def test_a_traceback_is_shown_only_when_asked_for_also_at_the_end_of_the_line() -> None:
    words = ["kafka", "status", "--name", "../elsewhere"]

    assert "Traceback" not in CliRunner().invoke(app, words).stderr
    assert "Traceback" in CliRunner().invoke(app, [*words, "--debug"]).stderr


def test_help_does_not_load_rich() -> None:
    command = [sys.executable, "-X", "importtime", "-c", "import orchestra.cli.main"]

    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stderr

    assert "rich" not in {line.rpartition("|")[2].strip().partition(".")[0] for line in loaded.splitlines()}
