"""What is found in a server's directory, and what of it is ended."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tocsin.storage import leftovers


def test_a_lock_file_names_its_server_and_says_when_it_is_ready(tmp_path: Path):
    assert leftovers.postmaster(tmp_path) is None
    assert not leftovers.is_ready(tmp_path)
    lock = tmp_path / "postmaster.pid"
    lock.write_text("42\n/d\n1\n5432\n/s\n\n1 1\nstarting\n")
    assert leftovers.postmaster(tmp_path) == 42
    assert not leftovers.is_ready(tmp_path)
    lock.write_text("42\n/d\n1\n5432\n/s\n\n1 1\nready   \n")
    assert leftovers.is_ready(tmp_path)


@pytest.mark.parametrize("text", ["", "\n", "nonsense\n", "42"])
def test_a_lock_file_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path: Path, text: str):
    (tmp_path / "postmaster.pid").write_text(text)
    assert leftovers.postmaster(tmp_path) == (42 if text == "42" else None)
    assert not leftovers.is_ready(tmp_path)


def test_a_shell_that_stands_in_the_directory_is_left_alone(tmp_path: Path):
    shell = subprocess.Popen(["sleep", "60"], cwd=tmp_path)
    (tmp_path / "postmaster.pid").write_text(f"{shell.pid}\n")
    leftovers.end(tmp_path)
    assert shell.poll() is None
    assert not (tmp_path / "postmaster.pid").exists()
    shell.kill()
    shell.wait()


def test_a_directory_that_is_not_there_holds_nothing(tmp_path: Path):
    leftovers.end(tmp_path / "none")
    assert leftovers.by_command(tmp_path) == []


def standing_in(directory: Path) -> "subprocess.Popen[bytes]":
    """A process called postgres that stands in a directory and does nothing."""
    directory.mkdir()
    shutil.copy(Path("/bin/sleep").resolve(), directory / "postgres")
    return subprocess.Popen([str(directory / "postgres"), "60"], cwd=directory)


def test_a_server_that_still_runs_is_asked_to_shut_down(tmp_path: Path):
    server = standing_in(tmp_path / "data")
    (tmp_path / "data" / "postmaster.pid").write_text(f"{server.pid}\n")
    assert leftovers.workers(tmp_path / "data") == [server.pid]
    leftovers.end(tmp_path / "data")
    assert server.wait() == -signal.SIGINT
    assert leftovers.postmaster(tmp_path / "data") is None


def test_a_backend_that_does_not_notice_that_its_server_is_gone_is_killed(tmp_path: Path, monkeypatch):
    backend = standing_in(tmp_path / "data")
    if sys.platform != "linux":  # where only servers can be found, somebody has to say so
        monkeypatch.setattr(leftovers, "workers", lambda _: [backend.pid] if backend.poll() is None else [])
    leftovers.end(tmp_path / "data")
    assert backend.wait() == -signal.SIGKILL


def test_where_there_is_no_proc_the_command_line_tells(tmp_path: Path, monkeypatch):
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", str(tmp_path)])
    (tmp_path / "postmaster.pid").write_text(f"{sleeper.pid}\n")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert leftovers.workers(tmp_path) == [sleeper.pid]
    assert leftovers.by_command(tmp_path / "other") == []
    (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n")
    assert leftovers.workers(tmp_path) == []
    sleeper.kill()
    sleeper.wait()


def test_a_process_that_ended_meanwhile_needs_no_signal():
    ended = subprocess.Popen(["true"])
    ended.wait()
    leftovers._signal([ended.pid], 0)
