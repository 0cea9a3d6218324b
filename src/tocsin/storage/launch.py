"""The program between us and `postgres`: lowers the user, ties the server's life to its parent's, becomes the server.

In: a JSON order as the first argument (`uid`, `gid`, `parent`, `watch`, `stop_after`, `argv`). It runs as a script of
its own, nothing of the project imported, because between fork and exec a process with threads may do almost nothing.
On Linux the kernel sends SIGINT (a fast, clean shutdown) when the parent ends. Elsewhere this process stays and
watches.
"""

import ctypes
import json
import os
import select
import signal
import sys
import time
from typing import Any

_PR_SET_PDEATHSIG = 1  # prctl(2)


def lower(uid: int, gid: int) -> None:
    """Become the user `uid` in the group `gid` and no other; nothing happens unless the caller is root."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


def tie_to_parent(parent: int) -> None:
    """Ask Linux for SIGINT when the parent ends (prctl(2), PR_SET_PDEATHSIG); it survives exec, not a change of user.

    Raises OSError if the kernel refuses and ProcessLookupError if the parent ended before the request was made.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl refused PR_SET_PDEATHSIG")
    if os.getppid() != parent:
        raise ProcessLookupError("the process that wanted a server has ended")


def watch(server: int, parent: int, stop_after: float) -> int:
    """Wait for the server; when the parent ends first, stop the server: SIGINT, after `stop_after` seconds SIGKILL.

    Gives the server's exit status. SIGINT, SIGTERM and SIGQUIT sent to the watcher go on to the server.
    """
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, lambda received, _frame: os.kill(server, received))
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    deadline = 0.0
    while True:
        ended, status = os.waitpid(server, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if not deadline and os.getppid() != parent:
            deadline = time.monotonic() + stop_after
            os.kill(server, signal.SIGINT)
        elif deadline and time.monotonic() > deadline:
            os.kill(server, signal.SIGKILL)
        if select.select([wake], [], [], 0.25)[0]:
            os.read(wake, 64)


def main(order: dict[str, Any]) -> None:
    """Carry out the order: never returns."""
    if order["watch"]:
        server = os.fork()
        if server:
            code = watch(server, order["parent"], order["stop_after"])
            sys.exit(code if code >= 0 else 128 - code)
    lower(order["uid"], order["gid"])
    if not order["watch"]:
        tie_to_parent(order["parent"])
    os.execv(order["argv"][0], order["argv"])  # noqa: S606 - the server itself, by its full path


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
