from __future__ import annotations

import sys
from pathlib import Path

import orchestra
from bench.profile import LOOP, STAGES, stage_of

ROOT = Path(orchestra.__file__).parent.parent


def test_every_stage_names_files_that_exist() -> None:
    ours = [part for part, _ in STAGES if part.startswith("/orchestra/")]

    assert ours
    for part in ours:
        assert (ROOT / part.lstrip("/")).is_dir() or (ROOT / f"{part.lstrip('/')}.py").is_file(), part


def test_what_nobody_claims_belongs_to_the_event_loop() -> None:
    assert stage_of(sys._getframe()) == LOOP
