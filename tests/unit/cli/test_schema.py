"""Does ``orchestra schema`` write the files, and tell when they are old?"""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from orchestra.cli.main import app

MESSAGES = "services.food_delivery.messages"


def orchestra(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["schema", *words])
    return result.exit_code, result.output


def test_check_is_content_after_export(tmp_path: Path) -> None:
    assert orchestra("export", MESSAGES, "--to", str(tmp_path))[0] == 0

    code, output = orchestra("check", MESSAGES, "--to", str(tmp_path))

    assert (code, "all up to date" in output) == (0, True)


def test_check_names_what_is_out_of_date_and_how_to_mend_it(tmp_path: Path) -> None:
    orchestra("export", MESSAGES, "--to", str(tmp_path))
    changed = tmp_path / "shop.order.placed.v1.schema.json"
    changed.write_text("{}")

    code, output = orchestra("check", MESSAGES, "--to", str(tmp_path))

    assert code == 1
    assert f"{changed}: different" in output
    assert f"orchestra schema export {MESSAGES} --to {tmp_path}" in output


def test_check_speaks_json_to_machines(tmp_path: Path) -> None:
    code, output = orchestra("check", MESSAGES, "--to", str(tmp_path), "--json")

    assert code == 1
    assert {entry["problem"] for entry in json.loads(output)} == {"missing"}


def test_exporting_again_writes_nothing(tmp_path: Path) -> None:
    orchestra("export", MESSAGES, "--to", str(tmp_path))

    assert " 0 written" in orchestra("export", MESSAGES, "--to", str(tmp_path))[1]
