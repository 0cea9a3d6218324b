"""Keeps the processes of `tocsin dev` alive, and ends all of them in order.

In: what to run. Out: running children, restarted when they die, their lines in a log file each and on stderr.
A child that was killed is started again at once; one that ends by itself again and again is given a pause, and its
last words are said. On Linux a child cannot outlive this process, not even if it is killed with SIGKILL.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tocsin.cli.exits import Exit

QUICK: Final = 5.0
"""Seconds; a child that ends by itself sooner than this has not really started."""
FREE_RESTARTS: Final = 2
"""Quick ends in a row that are forgiven without a pause."""
LONGEST_PAUSE: Final = 30.0
"""Seconds between two starts of a child that ends at once, at most."""
LAST_WORDS: Final = 8
"""Lines of a child that are said when it ends by itself."""

_PR_SET_PDEATHSIG = 1  # prctl(2)
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Program:
    """One child: its name, its command line, its whole environment and the file descriptors it inherits."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    fds: Sequence[int] = ()


def pause_after(quick_ends: int) -> float:
    """Seconds to wait before the next start, after so many quick ends in a row: 0, 0, then doubling from 0.5."""
    return 0.0 if quick_ends <= FREE_RESTARTS else min(0.5 * 2.0 ** (quick_ends - FREE_RESTARTS - 1), LONGEST_PAUSE)


def describe(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"ended by itself with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


class Crashing(Exception):
    """A child ends as soon as it is started; the text says which, how, and its last words."""


@dataclass
class _Child:
    program: Program
    process: asyncio.subprocess.Process | None = None
    keeper: "asyncio.Task[None] | None" = None
    quick_ends: int = 0
    own_ends: int = 0
    hopeless: bool = False
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_WORDS))


class Supervisor:
    """The children of one `tocsin dev`.

    `logs` is the folder of their log files, `changed` is called with the pids whenever one changes, `say` with
    every line that is for people.
    """

    def __init__(self, logs: Path, changed: Callable[[Mapping[str, int]], None], say: Callable[[str], None]) -> None:
        self._logs = logs
        self._changed = changed
        self._say = say
        self._children: dict[str, _Child] = {}

    @property
    def pids(self) -> dict[str, int]:
        """The pid of each child that runs, by name."""
        return {
            name: child.process.pid
            for name, child in self._children.items()
            if child.process is not None and child.process.returncode is None
        }

    async def start(self, program: Program) -> None:
        """Start a child and keep it alive from now on."""
        child = _Child(program)
        self._children[program.name] = child
        await self._spawn(child)
        child.keeper = asyncio.create_task(self._keep(child))

    def check(self) -> None:
        """Raise Crashing if a child ended by itself more often than is forgiven, or said that it was called wrongly."""
        for child in self._children.values():
            if child.own_ends > FREE_RESTARTS or child.hopeless:
                words = "\n".join(f"    {line}" for line in child.tail)
                raise Crashing(f"{child.program.name} does not start; its last words:\n{words}")

    async def stop(self, names: Sequence[str], *, within: float) -> None:
        """End these children together: SIGTERM, and SIGKILL for what still runs after `within` seconds."""
        children = [self._children[name] for name in names if name in self._children]
        for child in children:
            child.ending.set()
            _signal(child, signal.SIGTERM)
        keepers = [child.keeper for child in children if child.keeper is not None]
        if not keepers:
            return
        _, late = await asyncio.wait(keepers, timeout=within)
        for child in children:
            if child.keeper in late:
                self._say(f"{child.program.name} did not end within {within:.0f} s: killed")
                _signal(child, signal.SIGKILL)
        await asyncio.gather(*keepers)

    def kill(self) -> None:
        """End every child at once; `stop` still has to be awaited."""
        for child in self._children.values():
            child.ending.set()
            _signal(child, signal.SIGKILL)

    async def _spawn(self, child: _Child) -> None:
        parent = os.getpid()

        def in_child() -> None:
            if _libc is not None:
                _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != parent:  # the parent died before the line above
                    os._exit(1)

        child.process = await asyncio.create_subprocess_exec(
            *child.program.argv,
            env=dict(child.program.env),
            pass_fds=tuple(child.program.fds),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process only, which ends the children in order
            preexec_fn=in_child,
        )
        self._changed(self.pids)

    async def _keep(self, child: _Child) -> None:
        name = child.program.name
        while True:
            process, began = child.process, time.monotonic()
            assert process is not None
            await self._listen(child, process)
            code = await process.wait()
            if child.ending.is_set():
                return
            by_itself = code >= 0
            child.own_ends += by_itself
            child.hopeless = code == Exit.USAGE
            quick = by_itself and time.monotonic() - began < QUICK
            child.quick_ends = child.quick_ends + 1 if quick else 0
            pause = pause_after(child.quick_ends)
            self._say(f"{name} {describe(code)}; starting it again {f'in {pause:.1f} s' if pause else 'at once'}")
            if pause:
                for words in child.tail:
                    self._say(f"  {name} said: {words}")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(child.ending.wait(), pause)
            if child.ending.is_set():
                return
            await self._spawn(child)
            if child.ending.is_set():  # asked to end while it was being started
                _signal(child, signal.SIGTERM)

    async def _listen(self, child: _Child, process: asyncio.subprocess.Process) -> None:
        """Copy what a child says to its log file and to stderr, until it has ended."""
        assert process.stdout is not None
        name = child.program.name
        with (self._logs / f"{name}.log").open("ab", buffering=0) as log:
            while True:
                try:
                    line = await process.stdout.readline()
                except ValueError:  # a line over the stream's limit of 64 KiB: it was dropped
                    continue
                if not line:
                    return
                log.write(line)
                text = line.decode("utf-8", "replace").rstrip()
                child.tail.append(text)
                sys.stderr.write(f"{name:9} | {text}\n")
                sys.stderr.flush()


def _signal(child: _Child, number: signal.Signals) -> None:
    if child.process is not None and child.process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.process.send_signal(number)
