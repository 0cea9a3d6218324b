"""Children are kept alive, and all of them end with their supervisor."""

import asyncio
import os
import signal
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tocsin.cli import supervisor
from tocsin.cli.supervisor import Crashing, Program, Supervisor, describe, pause_after


class Told:
    """What a supervisor says and which pids it names."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.pids: list[dict[str, int]] = []


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def keeping(tmp_path: Path, told: Told) -> Supervisor:
    return Supervisor(tmp_path, lambda pids: told.pids.append(dict(pids)), told.said.append)


def python(name: str, code: str, fds=()) -> Program:
    return Program(name, [sys.executable, "-c", textwrap.dedent(code)], dict(os.environ), fds)


SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = """
    import signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print('up', flush=True)
    time.sleep(600)
"""


async def until(condition, within: float = 10.0) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_killed_child_is_started_again_at_once(keeping: Supervisor, told: Told, tmp_path: Path):
    log = tmp_path / "worker-1.log"
    await keeping.start(python("worker-1", SLEEPER))
    await until(lambda: log.exists() and log.read_bytes() == b"up\n")
    first = keeping.pids["worker-1"]
    os.kill(first, signal.SIGKILL)
    began = time.monotonic()
    await until(lambda: keeping.pids.get("worker-1", first) != first)
    assert time.monotonic() - began < 2.0
    assert told.said == ["worker-1 was ended by SIGKILL; starting it again at once"]
    assert told.pids[-1] == keeping.pids
    await until(lambda: log.read_bytes() == b"up\nup\n")
    await keeping.stop(["worker-1"], within=5)
    assert keeping.pids == {}


async def test_kills_from_outside_are_never_taken_for_a_crash(keeping: Supervisor, told: Told):
    await keeping.start(python("worker-1", SLEEPER))
    for _ in range(supervisor.FREE_RESTARTS + 2):
        pid = keeping.pids["worker-1"]
        os.kill(pid, signal.SIGKILL)
        await until(lambda before=pid: keeping.pids.get("worker-1", before) != before)
    keeping.check()
    assert all(line.endswith("at once") for line in told.said)
    await keeping.stop(["worker-1"], within=5)


async def test_a_crash_loop_is_slowed_and_its_last_words_are_said(keeping: Supervisor, told: Told):
    await keeping.start(python("api", "print('no database'); raise SystemExit(3)"))
    await until(lambda: any("in 0.5 s" in line for line in told.said))
    assert "api ended by itself with exit code 3; starting it again at once" in told.said
    assert "  api said: no database" in told.said
    with pytest.raises(Crashing, match="api does not start; its last words:\n    no database"):
        keeping.check()
    began = time.monotonic()
    await keeping.stop(["api"], within=5)
    assert time.monotonic() - began < 0.5, "a pause is no reason to wait"


async def test_a_child_that_does_not_end_is_killed_in_the_end(keeping: Supervisor, told: Told, tmp_path: Path):
    await keeping.start(python("api", STUBBORN))
    await until(lambda: (tmp_path / "api.log").exists() and b"up" in (tmp_path / "api.log").read_bytes())
    await keeping.stop(["api", "never-started"], within=0.2)
    assert told.said == ["api did not end within 0 s: killed"]
    assert keeping.pids == {}


async def test_hurry_ends_all_children_at_once(keeping: Supervisor, tmp_path: Path):
    await keeping.start(python("api", STUBBORN))
    await keeping.start(python("lab", STUBBORN))
    keeping.kill()
    await keeping.stop(["api", "lab"], within=5)
    assert keeping.pids == {}


async def test_a_child_inherits_the_sockets_it_is_given(keeping: Supervisor, tmp_path: Path):
    read, write = os.pipe()
    await keeping.start(python("api", f"import os; os.write({write}, b'x'); import time; time.sleep(600)", [write]))
    os.close(write)
    assert await asyncio.to_thread(os.read, read, 1) == b"x"
    os.close(read)
    await keeping.stop(["api"], within=5)


async def test_a_line_over_the_limit_does_not_stop_the_log(keeping: Supervisor, tmp_path: Path):
    await keeping.start(python("api", "print('x' * 200_000); print('after', flush=True); import time; time.sleep(600)"))
    await until(lambda: (tmp_path / "api.log").exists() and b"after" in (tmp_path / "api.log").read_bytes())
    await keeping.stop(["api"], within=5)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
async def test_no_child_outlives_a_supervisor_that_was_killed(tmp_path: Path):
    code = f"""
        import asyncio, os, sys
        from pathlib import Path
        from tocsin.cli.supervisor import Program, Supervisor

        async def main():
            keeping = Supervisor(Path({str(tmp_path)!r}), lambda pids: None, print)
            await keeping.start(Program("x", [sys.executable, "-c", {textwrap.dedent(STUBBORN)!r}], dict(os.environ)))
            print(keeping.pids["x"], flush=True)
            await asyncio.sleep(600)

        asyncio.run(main())
    """
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(code), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    await until(lambda: b"up" in (tmp_path / "x.log").read_bytes() if (tmp_path / "x.log").exists() else False)
    parent.kill()
    await parent.wait()
    await until(lambda: gone(child))


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_pauses_double_up_to_a_limit():
    assert [pause_after(ends) for ends in (0, 1, 2, 3, 4, 5)] == [0, 0, 0, 0.5, 1, 2]
    assert pause_after(1000) == supervisor.LONGEST_PAUSE


def test_ends_are_told_in_words():
    assert describe(-signal.SIGSEGV) == "was ended by SIGSEGV"
    assert describe(-120) == "was ended by signal 120"
    assert describe(0) == "ended by itself with exit code 0"
