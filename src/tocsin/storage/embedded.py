"""The embedded PostgreSQL: a server of our own, started as a child, gone when we are gone.

In: a data directory. Out: `Dsns`, one for each role, over a Unix socket with passwords (SCRAM; nobody is trusted).
A stale lock file, orphaned backends or a crash are healed at the next start; a data directory in use is refused.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self
from urllib.parse import quote

import asyncpg

from tocsin.storage import cluster, leftovers, places, roles
from tocsin.storage.cluster import ServerFailed

__all__ = ["DATABASE", "Dsns", "EmbeddedPostgres", "InUse", "ServerFailed"]

DATABASE = "tocsin"
_LOG_LIMIT = 8 * 1024 * 1024


class InUse(Exception):
    """Another process runs a server on this data directory."""


@dataclass(frozen=True, slots=True)
class Dsns:
    """How to reach one database, as each role."""

    owner: str
    app: str
    keeper: str


class EmbeddedPostgres:
    """One server on one data directory. Start it on a thread that lives as long as the server should."""

    def __init__(
        self,
        data_dir: Path,
        *,
        settings: Mapping[str, str] | None = None,
        elsewhere: Path = places.ELSEWHERE,
        watched: bool = sys.platform != "linux",
        ready_within: float = 60.0,
    ) -> None:
        """`settings` override cluster.SETTINGS (spelt as in postgresql.conf); `elsewhere` is where root keeps what
        the server's user could not reach; `watched` ties the server to us by a watching process instead of the kernel;
        `ready_within` is seconds."""
        self.data_dir = data_dir.absolute()
        self._settings = {**cluster.SETTINGS, **(settings or {})}
        self._elsewhere = elsewhere
        self._watched = watched
        self._ready_within = ready_within
        self._child: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self._cluster: Path | None = None
        self._sockets: Path | None = None
        self._passwords: dict[str, str] = {}
        self._log_from = 0

    @property
    def pid(self) -> int | None:
        """The process id of the server; None while it does not run."""
        if self._child is None or not self.running:
            return None
        return leftovers.postmaster(self._directory) if self._watched else self._child.pid

    @property
    def running(self) -> bool:
        """Whether the server's process is there."""
        return self._child is not None and self._child.poll() is None

    async def start(self) -> Dsns:
        """Start the server, make it if it is new, create roles and database; gives the DSNs of `DATABASE`.

        Raises InUse if somebody else runs it, NoPlace if it can be run nowhere, ServerFailed if it does not come up.
        """
        if self.running:
            return self.dsns()
        if self._child is not None:
            self._child.wait()
            self._child = None
        self.data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        if self._lock is None:  # a server that died under us left us its lock
            self._hold()
        try:
            await self._launch()
            await self._bootstrap()
        except BaseException:
            await self.stop()
            raise
        return self.dsns()

    async def stop(self, *, within: float = 20.0) -> None:
        """Stop the server: sessions are ended and everything is written (fast shutdown); after `within` seconds at once
        (immediate shutdown: the next start recovers), and at last by SIGKILL. Does nothing if it does not run."""
        if self._child is not None:
            for number, patience in ((signal.SIGINT, within), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
                server = self.pid or self._child.pid
                if self.running:
                    os.kill(server, number)
                    await self._ended(patience)
            self._child = None
            if self._cluster is not None and self._sockets is not None and self._cluster not in self._sockets.parents:
                shutil.rmtree(self._sockets)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def erase(self) -> None:
        """Delete the database and all that belongs to it; raises InUse while a server runs on it."""
        if not self.data_dir.exists():
            return
        if self.running:
            raise InUse(f"the database of {self.data_dir} runs: stop it first")
        self._hold()
        try:
            note = self.data_dir / "cluster"
            if note.exists():
                files = Path(note.read_text("utf-8").strip())
                if files.is_dir():
                    leftovers.end(files / "data")
                    shutil.rmtree(places.socket_dir(places.Runner.current(), files))
                    shutil.rmtree(files)
            for name in ("cluster", "roles.json", "postgres.log", "postgres.log.1", "postgres.lock"):
                (self.data_dir / name).unlink(missing_ok=True)
        finally:
            assert self._lock is not None
            self._lock.close()
            self._lock = None

    def dsns(self, database: str = DATABASE) -> Dsns:
        """The DSNs of a database of this server, by role. The server must have been started."""
        return Dsns(*(self._dsn(role, database) for role in (roles.OWNER, roles.APP, roles.KEEPER)))

    def admin_dsn(self, database: str = DATABASE) -> str:
        """The superuser's DSN: for the operator at this machine and for tests, never for a process that serves."""
        return self._dsn(cluster.ADMIN, database)

    async def create_database(self, name: str, *, template: str = "template0") -> Dsns:
        """Create a database that `tocsin_owner` owns, as a copy of `template`; gives its DSNs."""
        admin = await asyncpg.connect(self.admin_dsn("postgres"))
        try:
            await admin.execute(f'create database "{name}" owner {roles.OWNER} template "{template}"')
            await admin.execute(roles.database_rights(name))
        finally:
            await admin.close()
        return self.dsns(name)

    async def drop_database(self, name: str) -> None:
        """Drop a database of this server, ending its sessions; nothing happens if there is none."""
        admin = await asyncpg.connect(self.admin_dsn("postgres"))
        try:
            await admin.execute(f'drop database if exists "{name}" with (force)')
        finally:
            await admin.close()

    @property
    def _directory(self) -> Path:
        assert self._cluster is not None
        return self._cluster / "data"

    def _dsn(self, role: str, database: str) -> str:
        host = quote(str(self._sockets), safe="")
        return f"postgresql://{role}:{self._passwords[role]}@/{database}?host={host}"

    def _hold(self) -> None:
        self._lock = (self.data_dir / "postgres.lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            self._lock = None
            raise InUse(
                f"another process runs the database of {self.data_dir}: stop it, or choose another TOCSIN_DATA_DIR"
            ) from None

    async def _launch(self) -> None:
        runner = places.Runner.current()
        binaries = await asyncio.to_thread(places.binaries, runner, self._elsewhere)
        self._cluster = await asyncio.to_thread(places.cluster_dir, runner, self.data_dir, self._elsewhere)
        self._sockets = await asyncio.to_thread(places.socket_dir, runner, self._cluster)
        self._passwords = cluster.passwords(self.data_dir)
        settings = {**self._settings, "unix_socket_directories": f"'{self._sockets}'"}
        await asyncio.to_thread(
            cluster.prepare, runner, binaries, self._directory, self._passwords[cluster.ADMIN], settings
        )
        deadline = asyncio.get_running_loop().time() + self._ready_within
        while True:
            await asyncio.to_thread(leftovers.end, self._directory)
            for stale in self._sockets.iterdir():  # its lock may name a process id that is somebody else's by now
                stale.unlink()
            self._spawn(runner, binaries)
            if await self._ready(deadline):
                return
            said = self._last_words()
            # backends of a killed server hold its shared memory for a moment; nothing else mends itself
            if "shared memory" not in said or asyncio.get_running_loop().time() > deadline:
                raise ServerFailed(f"PostgreSQL did not start on {self._directory}. It said:\n{said}")
            await asyncio.sleep(0.2)

    def _spawn(self, runner: places.Runner, binaries: Path) -> None:
        log = self.data_dir / "postgres.log"
        if log.exists() and log.stat().st_size > _LOG_LIMIT:
            log.rename(log.with_name("postgres.log.1"))
        order = {
            "uid": runner.uid,
            "gid": runner.gid,
            "parent": os.getpid(),
            "watch": self._watched,
            "stop_after": 20.0,
            "argv": [str(binaries / "postgres"), "-D", str(self._directory)],
        }
        with log.open("ab") as output:
            self._log_from = output.tell()
            self._child = subprocess.Popen(  # noqa: S603 - our own script, no shell
                [sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py")), json.dumps(order)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
                start_new_session=True,  # Ctrl-C is for the supervisor, which stops the server last
            )

    async def _ready(self, deadline: float) -> bool:
        assert self._child is not None
        loop = asyncio.get_running_loop()
        while self._child.poll() is None:
            if leftovers.is_ready(self._directory):
                return True
            if loop.time() > deadline:
                await self.stop(within=1.0)
                raise ServerFailed(
                    f"PostgreSQL was not ready within {self._ready_within:g} s. It said:\n{self._last_words()}"
                )
            await asyncio.sleep(0.02)
        return False

    def _last_words(self) -> str:
        with (self.data_dir / "postgres.log").open("rb") as file:
            file.seek(self._log_from)
            return file.read()[-4000:].decode("utf-8", "replace").strip()

    async def _ended(self, patience: float) -> None:
        assert self._child is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self._child.wait, patience)

    async def _bootstrap(self) -> None:
        admin = await asyncpg.connect(self.admin_dsn("postgres"), timeout=self._ready_within)
        try:
            # a statement that fails is logged with its text, and these hold passwords
            await admin.execute("set log_min_error_statement = panic")
            there = {row["rolname"] for row in await admin.fetch("select rolname from pg_roles")}
            for role in (roles.OWNER, roles.APP, roles.KEEPER):
                if role not in there:
                    await admin.execute(roles.create_role(role, self._passwords[role]))
            exists = await admin.fetchval("select 1 from pg_database where datname = $1", DATABASE)
        finally:
            await admin.close()
        if not exists:
            await self.create_database(DATABASE)
