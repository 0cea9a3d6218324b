"""A running platform: `tocsin dev` in a directory of its own, started and ended as its user would, or killed.

In: an empty directory. Out: where things are, apps made through the command line, a reading role for the checker.
"""

import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from tests.rig.caller import Caller
from tests.rig.lab import LabControl
from tests.rig.log import ClientLog

from tocsin.cli import main

ROOT = Path(__file__).parents[2]
_TOCSIN = [sys.executable, "-m", "tocsin.cli"]


@dataclass(frozen=True)
class App:
    """An app of the platform: its public id and an API key."""

    id: str
    key: str


class Platform:
    """One `tocsin dev`."""

    def __init__(self, directory: Path, *, workers: int = 2, env: Mapping[str, str] | None = None) -> None:
        self.directory, self._workers = directory, workers
        self._env = {**os.environ, **(env or {}), "TOCSIN_DATA_DIR": str(directory)}
        self._process: subprocess.Popen[bytes] | None = None
        self._tenant: str | None = None

    # ------------------------------------------------------------------ up and down

    def start(self, *, within: float = 90.0) -> None:
        """Start it and wait until it is ready; raises with its last words if it does not come up."""
        self.directory.mkdir(parents=True, exist_ok=True)
        words = ["dev", "--port", "0", "--workers", str(self._workers), "--data-dir", str(self.directory)]
        with (self.directory / "dev.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_TOCSIN, *words], cwd=ROOT, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + within
        while not (self.directory / "dev.json").exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError("the platform did not come up:\n" + self.last_words())
            time.sleep(0.05)

    def stop(self) -> int | None:
        """Ask it to end, and wait; gives its exit code."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(60)
        finally:
            if self._process.poll() is None:
                self._process.kill()

    def kill_everything(self) -> list[int]:
        """SIGKILL for the supervisor and every process of it; gives their ids once none is left."""
        assert self._process is not None
        pids = [self._process.pid, *self.pids.values()]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(10)
        deadline = time.monotonic() + 10
        while any(_alive(pid) for pid in pids):
            if time.monotonic() > deadline:
                raise TimeoutError(f"still there: {[pid for pid in pids if _alive(pid)]}")
            time.sleep(0.02)
        (self.directory / "dev.json").unlink(missing_ok=True)
        return pids

    def last_words(self, lines: int = 30) -> str:
        """The end of what it printed."""
        return "\n".join((self.directory / "dev.log").read_text("utf-8", "replace").splitlines()[-lines:])

    # ------------------------------------------------------------------ where things are

    @property
    def facts(self) -> dict[str, Any]:
        """`dev.json` as it is now."""
        facts: dict[str, Any] = json.loads((self.directory / "dev.json").read_text("utf-8"))
        return facts

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name."""
        pids: dict[str, int] = self.facts["pids"]
        return pids

    def workers(self) -> list[int]:
        """The process ids of the workers."""
        return [pid for name, pid in sorted(self.pids.items()) if name.startswith("worker")]

    @property
    def lab(self) -> LabControl:
        """The lab of this platform."""
        return LabControl(self.facts["lab_url"], self.directory / "lab")

    @property
    def dsn(self) -> str:
        """The database as its superuser, for reading what row-level security hides from the platform itself."""
        owner = urlsplit(self.facts["database_owner_url"])
        passwords = json.loads((self.directory / "database" / "roles.json").read_text("utf-8"))
        secret = quote(passwords["postgres"], safe="")
        return f"postgresql://postgres:{secret}@{owner.netloc.rpartition('@')[2]}{owner.path}?{owner.query}"

    # ------------------------------------------------------------------ its command line

    def tocsin(self, *words: str, stdin: str | None = None) -> Any:
        """Run `tocsin WORDS --json`; gives what it prints, raises with its words if it fails."""
        done = subprocess.run(
            [*_TOCSIN, *words, "--json"],
            cwd=ROOT,
            env=self._env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"tocsin {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def operate(self, *words: str) -> Any:
        """The same within this process, which has loaded the command line once: for the many apps that tests need."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), _environment(TOCSIN_DATA_DIR=str(self.directory)):
            code = main([*words, "--json"])
        assert code == 0, f"tocsin {' '.join(words)}: {code} {printed.getvalue()}"
        return json.loads(printed.getvalue())

    def new_app(self, name: str, *providers: str) -> App:
        """A test app of its own with a key, and credentials of the lab for these providers. Needs a free thread."""
        if self._tenant is None:
            self._tenant = self.operate("tenants", "create", "rig")["id"]
        app = self.operate("apps", "create", name, "--tenant", self._tenant)["id"]
        for provider in providers:
            file = self.directory / f"{provider}.json"
            if not file.exists():
                file.write_text(json.dumps(self._account(provider)))
            self.operate("credentials", "add", str(file), "--app", app, "--provider", provider)
        return App(app, self.operate("keys", "create", "--app", app)["key"])

    async def caller(self, log: ClientLog, *providers: str) -> Caller:
        """A client of a new app; writes into `log` what it does and which waits the lab's account asks for."""
        app = await asyncio.to_thread(self.new_app, "rig", *providers)
        floors = self._account("fcm")["lab"]["retry_floors"]
        log.write("floors", app=app.id, **floors)
        return Caller(self.facts["api_url"], app.key, app.id, log)

    def reopened(self, caller: Caller) -> Caller:
        """The same client of the platform as it is now, after a new start."""
        return Caller(self.facts["api_url"], caller.key, caller.app_id, caller.log)

    def _account(self, provider: str) -> Any:
        with urllib.request.urlopen(f"{self.facts['lab_url']}/lab/accounts/{provider}", timeout=10) as answer:
            return json.load(answer)


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """These environment variables, for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
