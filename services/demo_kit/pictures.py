"""Does each README show its flow as it is? ``python -m services.demo_kit.pictures`` draws what has changed.

A line ``<!-- orchestra graph module:Flow -->`` says what is drawn in the fenced block below it.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from services.demo_kit.processes import ORCHESTRA

READMES = sorted(Path(__file__).parent.parent.glob("*/README.md"))
_PICTURE = re.compile(r"<!-- orchestra graph (\S+) -->\n+(?:```mermaid\n.*?```\n+)?", re.DOTALL)


def with_pictures(text: str) -> str:
    """The page with every picture drawn anew."""

    def draw(found: re.Match[str]) -> str:
        drawn = subprocess.run([ORCHESTRA, "graph", found[1]], check=True, capture_output=True, text=True)
        return f"<!-- orchestra graph {found[1]} -->\n```mermaid\n{drawn.stdout.strip()}\n```\n\n"

    return _PICTURE.sub(draw, text)


if __name__ == "__main__":
    for page in READMES:
        page.write_text(with_pictures(page.read_text()))
