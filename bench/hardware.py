"""On what machine, and on which commit, was this measured?"""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil


def hardware() -> dict[str, object]:
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("aiokafka", "faststream", "pydantic")},
        "load_before": [round(value, 2) for value in os.getloadavg()],
    }


def commit() -> str:
    """The commit, with ``+`` where files differ from it."""
    answer = subprocess.run(
        ["git", "describe", "--always", "--abbrev=10", "--dirty=+"], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() or "unknown"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
