from __future__ import annotations

from pathlib import Path

import pytest

from orchestra.errors import LocalPostgresError
from orchestra.testing.postgres_program import find_postgres, installed, needed_packages

SIMULATION = """\
Reading package lists...
Inst libpq5 (15.18-0+deb12u1 Debian:12.12/oldstable [amd64])
Inst libssl3 [3.0.16-1] (3.0.17-1 Debian-Security:12/oldstable-security [amd64])
Inst libllvm14 (1:14.0.6-12 Debian:12.12/oldstable [amd64])
Inst libjson-perl (4.10000-1 Debian:12.12/oldstable [all])
Inst postgresql-client-15 (15.18-0+deb12u1 Debian:12.12/oldstable [amd64])
Inst postgresql-common (248+deb12u1 Debian:12.12/oldstable [all])
Inst postgresql-15 (15.18-0+deb12u1 Debian:12.12/oldstable [amd64])
Inst postgresql (15+248+deb12u1 Debian:12.12/oldstable [all])
Conf libpq5 (15.18-0+deb12u1 Debian:12.12/oldstable [amd64])
"""


def program_in(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        (folder / name).touch(mode=0o755)
    return folder


def test_the_program_on_the_path_comes_first(tmp_path: Path) -> None:
    mine = program_in(tmp_path / "mine")
    program_in(tmp_path / "versions" / "17" / "bin")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "postgres").symlink_to(mine / "postgres")

    found = installed(str(tmp_path / "links"), tmp_path / "versions")

    assert found is not None
    assert (found.bin, found.libraries) == (mine, None)


def test_of_several_versions_the_newest_is_taken_by_its_number(tmp_path: Path) -> None:
    for version in ("9", "13", "16"):
        program_in(tmp_path / version / "bin")

    found = installed("", tmp_path)

    assert found is not None
    assert found.bin == tmp_path / "16" / "bin"


def test_version_that_is_too_old_is_not_taken(tmp_path: Path) -> None:
    program_in(tmp_path / "12" / "bin")

    assert installed("", tmp_path) is None


def test_only_the_server_and_the_libraries_that_are_missing_are_fetched() -> None:
    assert needed_packages(SIMULATION) == ["libpq5=15.18-0+deb12u1", "postgresql-15=15.18-0+deb12u1"]


def test_machine_without_a_program_and_without_apt_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("ORCHESTRA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("orchestra.testing.postgres_program._DEBIAN", tmp_path / "none")

    with pytest.raises(LocalPostgresError, match=r"no apt-get to get it\. Install it .* ORCHESTRA_TEST_POSTGRES"):
        find_postgres()
