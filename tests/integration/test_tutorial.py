"""Does the tutorial work, followed word for word in an empty directory?"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```(python|console)\n(.*?)```", (ROOT / "docs/tutorial/first-service.md").read_text(), re.DOTALL)
TITLE = re.compile(r"# (\S+\.py)\n")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def script(folder: Path) -> str:
    """The whole page as one shell script: files are written as they come, commands are run as they come."""
    lines = ["set -eum", "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT", f"cd {folder}"]
    for number, (kind, text) in enumerate(BLOCKS):
        if kind == "console":
            lines.append(text)
        else:
            title = TITLE.match(text)
            assert title is not None, f"a file without a name: {text[:60]!r}"
            lines.append(f"cat > {title[1]} <<'END-OF-FILE-{number}'\n{text}END-OF-FILE-{number}")
    return "\n".join(lines)


@pytest.mark.kafka
@pytest.mark.timeout(400)
def test_tutorial_followed_word_for_word_in_an_empty_directory_works(tmp_path: Path) -> None:
    (tmp_path / "orchestra").symlink_to(ROOT)
    port = free_port()
    bin_of_python = Path(sys.executable).resolve().parent
    environment = {
        "PATH": f"{bin_of_python}:{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", str(tmp_path)),
        "COLUMNS": "160",
        # The page says localhost:9092 and the newest of everything; a test has its own port, and known versions.
        "ORCHESTRA_BOOTSTRAP_SERVERS": f"localhost:{port}",
        "PIP_CONSTRAINT": str(ROOT / ".ci/constraints.txt"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        **{name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "XDG_", "REQUESTS_"))},
    }
    text = script(tmp_path).replace("orchestra kafka up", f"orchestra kafka up --name tutorial --port {port}")
    text = text.replace("orchestra kafka down", "orchestra kafka down --name tutorial")
    try:
        ended = subprocess.run(
            ["bash", "-c", text], env=environment, capture_output=True, text=True, timeout=380, check=False
        )
    finally:
        subprocess.run(
            [str(tmp_path / "my-shop/.venv/bin/orchestra"), "kafka", "down", "--name", "tutorial"],
            env=environment,
            capture_output=True,
            check=False,
        )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    log = (tmp_path / "my-shop/stock.log").read_text()
    assert "reserved 3 apple for order-1" in log
    assert "reserved 1 pear for order-2" in log
    assert "PERMANENT" in said
    assert "there is no caviar" in said
    assert "1 passed" in said
    assert "stopped" in log
