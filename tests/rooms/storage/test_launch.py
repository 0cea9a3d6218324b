"""The launcher: it lowers the user, ties the server to its parent, and where the kernel cannot do that it watches."""

import ctypes
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tocsin.storage import launch

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGCHLD)
SERVER = "import signal, sys, time; signal.signal(signal.SIGINT, {}); print('up', flush=True); time.sleep(60)"
STUBBORN = SERVER.format("signal.SIG_IGN")
POLITE = SERVER.format("lambda *_: sys.exit(7)")
NO_PARENT = -1


@pytest.fixture
def our_signals() -> Iterator[None]:
    """What the launcher sets is put back: it expects a process of its own."""
    before = {number: signal.getsignal(number) for number in HANDLED}
    yield
    wakeup = signal.set_wakeup_fd(-1)
    if wakeup != -1:
        os.close(wakeup)
    for number, handler in before.items():
        signal.signal(number, handler)


def server(program: str) -> "subprocess.Popen[str]":
    """A process in the place of a server, ready."""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    child.stdout.close()
    return child


def waited(child: "subprocess.Popen[str]", code: int) -> None:
    child.returncode = code  # the watcher waited for it


def test_a_server_that_ends_ends_the_watch_with_its_status(our_signals):
    child = server("print('up', flush=True); raise SystemExit(3)")
    assert launch.watch(child.pid, os.getppid(), 1.0) == 3
    waited(child, 3)


def test_a_server_whose_parent_ended_is_asked_to_stop(our_signals):
    child = server(POLITE)
    assert launch.watch(child.pid, NO_PARENT, 10.0) == 7
    waited(child, 7)


def test_a_server_that_will_not_stop_for_its_dead_parent_is_killed(our_signals):
    child = server(STUBBORN)
    began = time.monotonic()
    assert launch.watch(child.pid, NO_PARENT, 0.3) == -signal.SIGKILL
    assert time.monotonic() - began < 3
    waited(child, -9)


def test_a_signal_to_the_watcher_goes_on_to_the_server(our_signals):
    child = server(POLITE)
    teller = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    teller.start()
    assert launch.watch(child.pid, os.getppid(), 1.0) == 7
    teller.join()
    waited(child, 7)


class Became(Exception):
    """The process would have become another program."""


@pytest.fixture
def becoming(monkeypatch) -> list[list[str]]:
    seen: list[list[str]] = []

    def execv(path: str, argv: list[str]) -> None:
        seen.append([path, *argv])
        raise Became

    monkeypatch.setattr(os, "execv", execv)
    return seen


def order(**changes: object) -> dict[str, object]:
    return {
        "uid": 65534,
        "gid": 65533,
        "parent": os.getppid(),
        "watch": False,
        "stop_after": 1.0,
        "argv": ["/bin/postgres", "-D", "/x"],
    } | changes


def test_root_becomes_the_given_user_and_leaves_its_groups_first(monkeypatch):
    done: list[tuple[str, object]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in ("setgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, lambda value, name=name: done.append((name, value)))
    launch.lower(5, 6)
    assert done == [("setgroups", []), ("setgid", 6), ("setuid", 5)]


def test_an_ordinary_user_stays_who_it_is(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "setuid", lambda _: pytest.fail("it has no right to"))
    launch.lower(5, 6)


def test_the_order_is_carried_out_in_turn_user_tie_program(monkeypatch, becoming):
    done: list[object] = []
    monkeypatch.setattr(launch, "lower", lambda uid, gid: done.append((uid, gid)))
    monkeypatch.setattr(launch, "tie_to_parent", done.append)
    with pytest.raises(Became):
        launch.main(order(parent=77))
    assert done == [(65534, 65533), 77], "a change of user would undo the tie"
    assert becoming == [["/bin/postgres", "/bin/postgres", "-D", "/x"]]


def test_where_it_watches_the_child_becomes_the_server_and_is_not_tied(monkeypatch, becoming):
    monkeypatch.setattr(os, "fork", lambda: 0)
    monkeypatch.setattr(launch, "lower", lambda uid, gid: None)
    monkeypatch.setattr(launch, "tie_to_parent", lambda parent: pytest.fail("the watcher does that"))
    with pytest.raises(Became):
        launch.main(order(watch=True))


@pytest.mark.parametrize(("code", "status"), [(0, 0), (3, 3), (-9, 137)])
def test_where_it_watches_the_parent_ends_as_the_server_did(monkeypatch, code: int, status: int):
    monkeypatch.setattr(os, "fork", lambda: 4711)
    monkeypatch.setattr(launch, "watch", lambda server, parent, stop_after: code if server == 4711 else None)
    with pytest.raises(SystemExit) as ended:
        launch.main(order(watch=True))
    assert ended.value.code == status


def test_it_reads_its_order_from_the_first_argument(monkeypatch, becoming):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "fork", lambda: 0)
    monkeypatch.setattr(sys, "argv", ["launch.py", json.dumps(order(watch=True))])
    with pytest.raises(Became):
        runpy.run_path(str(Path(launch.__file__)), run_name="__main__")
    assert len(becoming) == 1


class Kernel:
    """In the place of the C library: takes the request or refuses it."""

    def __init__(self, answer: int) -> None:
        self.answer = answer
        self.asked: list[tuple[int, ...]] = []

    def prctl(self, *words: int) -> int:
        self.asked.append(words)
        return self.answer


def test_the_kernel_is_asked_for_an_interrupt_when_the_parent_ends(monkeypatch):
    kernel = Kernel(0)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: kernel)
    launch.tie_to_parent(os.getppid())
    assert kernel.asked == [(1, signal.SIGINT, 0, 0, 0)]


def test_a_parent_that_ended_before_the_request_is_noticed(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Kernel(0))
    with pytest.raises(ProcessLookupError, match="has ended"):
        launch.tie_to_parent(NO_PARENT)


def test_a_kernel_that_refuses_is_an_error(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Kernel(-1))
    with pytest.raises(OSError, match="PR_SET_PDEATHSIG"):
        launch.tie_to_parent(os.getppid())
