"""What an embedded server left behind when it or its parent was killed: a lock file, a process, orphaned backends.

In: the directory of the database files, held by our own lock, so that nothing found there is in use. Out: a directory
that a server can start on. Only servers that work in that very directory are ever ended.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_LINE_PID, _LINE_STATUS = 0, 7  # postmaster.pid, src/include/utils/pidfile.h


def _lines(directory: Path) -> list[str]:
    try:
        return (directory / "postmaster.pid").read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []


def postmaster(directory: Path) -> int | None:
    """The process id in the server's lock file; None if there is no such file."""
    lines = _lines(directory)
    return int(lines[_LINE_PID]) if lines and lines[_LINE_PID].strip().isdigit() else None


def is_ready(directory: Path) -> bool:
    """Whether the server that wrote the lock file takes connections."""
    lines = _lines(directory)
    return len(lines) > _LINE_STATUS and lines[_LINE_STATUS].strip() == "ready"


def workers(directory: Path) -> list[int]:
    """The process ids that work in `directory`: a server and its backends stand in it for all their life.

    Without /proc (macOS) only the server named by the lock file is found, by its command line.
    """
    if sys.platform == "linux":
        here = directory.stat()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    there = (entry / "cwd").stat()
                    name = (entry / "comm").read_text("utf-8", "replace").strip()
                except OSError:  # ended meanwhile, or of another user
                    continue
                if name == "postgres" and (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
                    found.append(int(entry.name))
        return found
    return by_command(directory)


def by_command(directory: Path) -> list[int]:
    """The server named by the lock file, if its command line speaks of this directory (any POSIX system)."""
    named = postmaster(directory)
    if named is None:
        return []
    asked = ["/bin/ps", "-ww", "-o", "command=", "-p", str(named)]
    shown = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603 - a number, no shell
    return [named] if str(directory) in shown.stdout else []


def end(directory: Path, *, patience: float = 10.0) -> None:
    """End whatever still works in `directory` and take away the lock file that then names nobody.

    A server is asked to shut down cleanly and has `patience` seconds for it. Backends whose server is gone end by
    themselves as soon as they notice; one that does not (it is stopped, or stuck in a call) is killed.
    """
    if not directory.exists():
        return
    server = postmaster(directory)
    if server in workers(directory):
        _signal([server], signal.SIGINT)
        _wait(directory, patience)
    for _ in range(2):
        if left := _wait(directory, 0.5):
            _signal(left, signal.SIGKILL)
    (directory / "postmaster.pid").unlink(missing_ok=True)


def _wait(directory: Path, seconds: float) -> list[int]:
    deadline = time.monotonic() + seconds
    while (left := workers(directory)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
