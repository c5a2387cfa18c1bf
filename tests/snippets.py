"""The Python of a documentation page as importable modules: each fenced block opens with the name of its file."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

DOCS = Path(__file__).parent.parent / "docs"


def written(page: str, folder: Path) -> dict[str, str]:
    """The page's modules as files in a folder: name -> source."""
    sources = dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", (DOCS / page).read_text(), re.DOTALL))
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source)
    return sources


@contextmanager
def imported(page: str, folder: Path) -> Iterator[dict[str, ModuleType]]:
    """The page's modules by name. They can import each other; nothing of them stays behind."""
    sources = written(page, folder)
    sys.path.insert(0, str(folder))
    try:
        modules = {name: importlib.import_module(name) for name in sources}
    finally:
        sys.path.remove(str(folder))
        for name in sources:
            sys.modules.pop(name, None)
    yield modules
