"""Does what the documentation shows type-check, without a cast?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.snippets import written

ROOT = Path(__file__).parent.parent.parent


PAGES = ["handlers.md", "retries.md", "how-to/test.md", "how-to/wait-and-approve.md", "how-to/state-machine.md"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES)
def test_snippets_of_a_page_hold_under_mypy_strict(page: str, tmp_path: Path) -> None:
    files = sorted(f"{name}.py" for name in written(page, tmp_path))
    config = ["--strict", "--config-file", str(ROOT / "pyproject.toml")]

    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *config, *files], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout
