"""Does each README show its flow as it is? ``python -m services.demo_kit.pictures`` draws what has changed.

A line ``<!-- orchestra graph module:Flow -->`` says what is drawn in the fenced block below it.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from services.demo_kit.processes import ORCHESTRA

READMES = sorted(Path(__file__).parent.parent.glob("*/README.md"))
_PICTURE = re.compile(r"<!-- orchestra graph (\S+) -->\n+(?:```mermaid\n.*?```\n+)?", re.DOTALL)


def with_pictures(text: str, draw: Callable[[str], str]) -> str:
    """The page with every picture drawn anew; ``draw`` gives the Mermaid text of a target."""
    return _PICTURE.sub(
        lambda found: f"<!-- orchestra graph {found[1]} -->\n```mermaid\n{draw(found[1]).strip()}\n```\n\n", text
    )


def _draw(target: str) -> str:
    return subprocess.run([ORCHESTRA, "graph", target], check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    for page in READMES:
        page.write_text(with_pictures(page.read_text(), _draw))
