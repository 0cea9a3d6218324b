"""What journey, fault and peer tests share: one running platform a session, an app of its own for each test.

In: nothing. Out: a platform that is ended and left no trace of; a caller whose log the checker can read.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.rig.caller import Caller
from tests.rig.judge import Judgement, judge
from tests.rig.log import ClientLog
from tests.rig.platform import Platform

_COVERAGE = ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")


def reachable_dir() -> Path:
    """A new directory that the embedded server, run as another user, can reach; in memory where there is room."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 4 << 30
    path = Path(tempfile.mkdtemp(prefix="tocsin-rig-", dir=memory if roomy else None))
    path.chmod(0o711)
    return path


def unmeasured() -> dict[str, str]:
    """This environment without what makes a child process measure its coverage."""
    return {name: value for name, value in os.environ.items() if name not in _COVERAGE}


@contextlib.contextmanager
def running(*, workers: int = 2, measured: bool = True) -> Iterator[Platform]:
    """A platform of one's own; it must end well, and nothing of it stays.

    `measured` False keeps coverage out of its processes: what is killed records nothing, and load needs the speed.
    """
    directory = reachable_dir()
    env = dict(os.environ) if measured else unmeasured()
    started = Platform(directory / "state", workers=workers, env=env)
    try:
        started.start()
        yield started
        assert started.stop() == 0, started.last_words()
    finally:
        started.stop()
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """A platform that runs for the whole session."""
    with running() as started:
        yield started


@pytest.fixture
def client_log(tmp_path: Path) -> Iterator[ClientLog]:
    """The reply log of the test's clients."""
    log = ClientLog(tmp_path / "client.jsonl")
    yield log
    log.close()


@pytest.fixture
async def caller(platform: Platform, client_log: ClientLog) -> AsyncIterator[Caller]:
    """A client with an app of its own that has credentials for FCM and Web Push."""
    async with await platform.caller(client_log, "fcm", "webpush") as made:
        yield made


@pytest.fixture
async def other_caller(platform: Platform, client_log: ClientLog) -> AsyncIterator[Caller]:
    """A client with another app, of the same log."""
    async with await platform.caller(client_log, "fcm") as made:
        yield made


def agreed(platform: Platform, *callers: Caller, slack: float = 12.0) -> Judgement:
    """Let the checker compare the three ledgers of these callers' apps; fails with its report unless they agree."""
    apps = tuple(caller.app_id for caller in callers)
    found = judge(callers[0].log.path, platform.reader, platform.lab.ledger, apps=apps, slack=slack)
    assert found.code == 0, found.text
    return found
