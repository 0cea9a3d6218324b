"""A running platform: `tocsin dev` in a directory of its own, started and ended as its user would, or killed.

In: an empty directory. Out: where things are, apps made through the command line, a reading role for the checker.
"""

import asyncio
import contextlib
import io
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg
from tests.rig.caller import Caller
from tests.rig.lab import LabControl
from tests.rig.log import ClientLog

from tocsin.cli import main

ROOT = Path(__file__).parents[2]
READER = "tocsin_reader"
_THERE = f"select exists (select from pg_roles where rolname = '{READER}')"
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
        self._env = {**(os.environ if env is None else env), "TOCSIN_DATA_DIR": str(directory)}
        self._process: subprocess.Popen[bytes] | None = None
        self._tenant: str | None = None
        self._reader_secret = secrets.token_hex(16)

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
        while self._told_by() != self._process.pid:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError("the platform did not come up:\n" + self.last_words())
            time.sleep(0.05)
        with ThreadPoolExecutor(1) as thread:  # the caller may have an event loop of its own
            thread.submit(asyncio.run, self._make_reader()).result()

    def _told_by(self) -> int | None:
        """Which process wrote `dev.json`; that of one which was killed may lie there until the next has begun."""
        try:
            pid: int = self.facts["pid"]
        except FileNotFoundError:
            return None
        return pid

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
    def superuser(self) -> str:
        """The database as its superuser: to make the reader, and to spoil a row on purpose."""
        passwords = json.loads((self.directory / "database" / "roles.json").read_text("utf-8"))
        return self._as("postgres", passwords["postgres"])

    @property
    def reader(self) -> str:
        """The database as a role that sees every app's rows and can write none."""
        return self._as(READER, self._reader_secret)

    def _as(self, role: str, secret: str) -> str:
        owner = urlsplit(self.facts["database_owner_url"])
        where = f"{owner.netloc.rpartition('@')[2]}{owner.path}?{owner.query}"
        return f"postgresql://{role}:{quote(secret, safe='')}@{where}"

    async def _make_reader(self) -> None:
        connection = await asyncpg.connect(self.superuser)
        try:
            if await connection.fetchval(_THERE):
                await connection.execute(f"drop owned by {READER}; drop role {READER}")
            await connection.execute(
                f"create role {READER} login bypassrls in role pg_read_all_data, pg_monitor "
                f"password '{self._reader_secret}'"
            )
            await connection.execute(f"grant connect on database {urlsplit(self.superuser).path[1:]} to {READER}")
            await connection.execute(f"alter role {READER} set default_transaction_read_only = on")
        finally:
            await connection.close()

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
