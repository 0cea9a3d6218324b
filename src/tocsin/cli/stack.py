"""Everything that `tocsin dev` runs, in the order it comes up and goes down.

In: a held data directory and a few choices. Out: a running platform, described by `dev.json`.
Up: database, lab, demo tenant, API, workers, keeper. Down: API, workers and keeper, lab, database.
"""

import asyncio
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tocsin.cli import demo, ports
from tocsin.cli.exits import Exit, Stop
from tocsin.cli.running import write_private
from tocsin.cli.state import StateDir
from tocsin.cli.supervisor import Crashing, Program, Supervisor
from tocsin.settings import Settings
from tocsin.storage.embedded import EmbeddedPostgres, InUse, ServerFailed
from tocsin.storage.places import NoPlace
from tocsin.terms import ids

READY_WITHIN: Final = 90.0
"""Seconds the whole may take to come up on a slow machine; warm it takes a few."""
DRAIN: Final = 25.0
"""Seconds that the API and the workers get to finish what they have begun."""
TOLD_BY_NEED: Final = frozenset(
    f"TOCSIN_{name}"
    for name in (
        *("DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_KEEPER_URL", "VAULT_KEYS", "RECEIPT_KEY"),
        *("LAB_URL", "LAB_CA", "API_URL", "API_KEY"),
    )
)
"""Variables that no child inherits from whoever started `tocsin dev`."""
LAB_PORTS: Final = (9443, 9480)
"""Where the lab answers over TLS and where its control API is, unless another program is there."""


@dataclass(frozen=True)
class Choices:
    """What may be chosen: the API's address, how many workers, and whether the database is one of the operator's."""

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 2


@dataclass(frozen=True)
class Dsns:
    """The database as each role."""

    owner: str
    app: str
    keeper: str


class Stack:
    """A running platform. `say` gets every line that is for people."""

    def __init__(self, state: StateDir, choices: Choices, settings: Settings, say: Callable[[str], None]) -> None:
        self._state = state
        self._choices = choices
        self._settings = settings
        self._say = say
        self._server: EmbeddedPostgres | None = None
        self._guard: asyncio.Task[None] | None = None
        self._door: socket.socket | None = None
        self._children = Supervisor(state.logs, lambda _: self._describe(), say)
        self._facts: dict[str, Any] = {}
        self._ready = False

    @property
    def facts(self) -> Mapping[str, Any]:
        """What `dev.json` holds."""
        return {**self._facts, "pids": self._pids()}

    async def up(self) -> None:
        """Bring everything up; raises Stop saying what does not start. What is up already is for `down` to end."""
        try:
            async with asyncio.timeout(READY_WITHIN):
                await self._up()
        except Crashing as crash:
            raise Stop(Exit.FAILED, str(crash), f"All of it is in {self._state.logs}.") from None
        except (InUse, ServerFailed, NoPlace) as fault:
            raise Stop(Exit.FAILED, str(fault), f"PostgreSQL's log is in {self._state.database}.") from None
        except TimeoutError:
            raise Stop(
                Exit.FAILED, f"not ready within {READY_WITHIN:.0f} s.", f"See what hangs in {self._state.logs}."
            ) from None

    async def down(self) -> None:
        """End everything in order: what was begun is finished, and nothing is left."""
        self._ready = False
        self._state.forget()
        if self._door is not None:
            self._door.close()
        await self._children.stop(["api"], within=DRAIN)
        await self._children.stop([*self._workers(), "keeper"], within=DRAIN)
        await self._children.stop(["lab"], within=5.0)
        if self._guard is not None:
            self._guard.cancel()
            await asyncio.wait([self._guard])
        if self._server is not None:
            await self._server.stop()

    def hurry(self) -> None:
        """End the children at once; `down` goes on from there."""
        self._children.kill()

    async def _up(self) -> None:
        self._door = ports.listen(self._choices.host, self._choices.port)
        port = self._door.getsockname()[1]
        shown = "127.0.0.1" if self._choices.host in ("0.0.0.0", "::") else self._choices.host  # noqa: S104
        api_url = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
        lab_env, lab_url = await self._lab()
        dsns = await self._database()
        self._facts = {
            "api_url": api_url,
            "api_key": "",
            "lab_url": lab_url,
            "data_dir": str(self._state.path),
            "pid": os.getpid(),
            "app_id": "",
            "database_url": dsns.app,
            "database_owner_url": dsns.owner,
            "database_keeper_url": dsns.keeper,
            "vault_keys": str(self._state.vault_keys),
            "receipt_key": str(self._state.receipt_key),
            "lab_ca": lab_env["TOCSIN_LAB_CA"],
            "lab_origin": lab_env["TOCSIN_LAB_URL"],
        }
        base = {**_environment(), **lab_env, "TOCSIN_DATABASE_URL": dsns.app}
        receipts = {"TOCSIN_RECEIPT_KEY": str(self._state.receipt_key)}
        vault = {"TOCSIN_VAULT_KEYS": str(self._state.vault_keys)}
        # these need nothing but the database: they start while the demo tenant is made
        await self._run("api", ["serve", "--fd", str(self._door.fileno())], {**base, **receipts, "TOCSIN_DEMO": "1"})
        for name in self._workers():
            await self._run(name, ["work"], {**base, **receipts, **vault})
        await self._run(
            "keeper",
            ["keep"],
            {**base, "TOCSIN_DATABASE_KEEPER_URL": dsns.keeper, "TOCSIN_DATABASE_OWNER_URL": dsns.owner},
        )
        made = await self._demo(dsns, lab_url, lab_env)
        self._facts["api_key"], self._facts["app_id"] = made.api_key, ids.show(ids.APP, made.app_id)
        await self._until(f"{api_url}/readyz")
        self._ready = True
        self._describe()

    async def _lab(self) -> tuple[dict[str, str], str]:
        """Start the lab on the ports it had before, the usual ones or free ones."""
        kept = self._state.lab / "ports.json"
        try:
            before = tuple(int(port) for port in json.loads(kept.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            before = ()
        had_tls, had_control = before if len(before) == len(LAB_PORTS) else (0, 0)
        tls = ports.pick((had_tls, LAB_PORTS[0]))
        control = ports.pick((had_control, LAB_PORTS[1]))
        kept.write_text(json.dumps([tls, control]), "utf-8")
        where = ["--dir", str(self._state.lab), "--port", str(tls), "--control-port", str(control)]
        await self._run("lab", ["lab", *where], _environment())
        origin, ca = f"https://localhost:{tls}", str(self._state.lab / "ca.pem")
        return {"TOCSIN_LAB_URL": origin, "TOCSIN_LAB_CA": ca}, f"http://127.0.0.1:{control}"

    async def _database(self) -> Dsns:
        """The operator's database if one is set, else our own; migrated, with partitions for the days to come."""
        from tocsin.storage import partitions
        from tocsin.storage.migrations import migrate

        given = self._settings
        if given.database_url is not None:
            if given.database_owner_url is None or given.database_keeper_url is None:
                raise Stop(
                    Exit.USAGE,
                    "TOCSIN_DATABASE_URL is set, TOCSIN_DATABASE_OWNER_URL or TOCSIN_DATABASE_KEEPER_URL is not.",
                    "Set all three, or none to let `tocsin dev` run a PostgreSQL of its own.",
                )
            dsns = Dsns(
                given.database_owner_url.get_secret_value(),
                given.database_url.get_secret_value(),
                given.database_keeper_url.get_secret_value(),
            )
        else:
            self._server = EmbeddedPostgres(self._state.database)
            own = await self._server.start()
            dsns = Dsns(own.owner, own.app, own.keeper)
            self._guard = asyncio.create_task(self._keep_server(self._server))
        await migrate(dsns.owner)
        await partitions.make_ahead(dsns.owner)
        return dsns

    async def _keep_server(self, server: EmbeddedPostgres) -> None:
        """Start the database again when it dies; it recovers by itself."""
        quick = 0
        while True:
            began = time.monotonic()
            while server.running:  # noqa: ASYNC110 - a process that ends sets no event
                await asyncio.sleep(0.1)
            quick = quick + 1 if time.monotonic() - began < 5.0 else 0
            self._say("postgres ended; starting it again")
            self._describe()
            await asyncio.sleep(min(0.25 * quick, 5.0))
            try:
                await server.stop()
                await server.start()
            except (InUse, ServerFailed, NoPlace, OSError) as fault:
                self._say(f"postgres does not start: {fault}")
            self._describe()

    async def _demo(self, dsns: Dsns, lab_url: str, lab_env: Mapping[str, str]) -> demo.Demo:
        """The demo tenant, once the lab can be asked for its accounts."""
        from tocsin import wiring
        from tocsin.storage import Database
        from tocsin.tenants.vault import load_keyring

        await self._until(f"{lab_url}/lab")
        accounts = {name: await _get(f"{lab_url}/lab/accounts/{name}") for name in ("fcm", "webpush")}
        settings = self._settings.model_copy(
            update={"lab_url": lab_env["TOCSIN_LAB_URL"], "lab_ca": self._state.lab / "ca.pem"}
        )
        database = await Database.connect(dsns.app, size=2)
        try:
            return await demo.provide(
                self._state,
                database,
                load_keyring(self._state.vault_keys),
                accounts,
                lambda provider, secret, mode: wiring.check_credential(settings, provider, secret, mode),
            )
        finally:
            await database.close()

    async def _until(self, url: str) -> None:
        """Wait until this answers 200; raises Crashing if a child ends again and again meanwhile."""
        while True:
            self._children.check()
            try:
                await _get(url)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                return

    async def _run(self, name: str, words: list[str], env: Mapping[str, str]) -> None:
        argv = [sys.executable, "-m", "tocsin.cli", *words]
        fds = [self._door.fileno()] if name == "api" and self._door is not None else []
        await self._children.start(Program(name, argv, env, fds))

    def _workers(self) -> list[str]:
        return [f"worker-{number}" for number in range(1, self._choices.workers + 1)]

    def _pids(self) -> dict[str, int]:
        server = self._server.pid if self._server is not None else None
        return {**({"postgres": server} if server else {}), **self._children.pids}

    def _describe(self) -> None:
        """Write `dev.json`, and `env` for shells, as they are now; they are there only while all is up."""
        if self._ready:
            write_private(self._state.dev, json.dumps(self.facts, indent=2) + "\n")
            api, key = shlex.quote(self.facts["api_url"]), shlex.quote(self.facts["api_key"])
            write_private(self._state.env, f"export TOCSIN_API_URL={api}\nexport TOCSIN_API_KEY={key}\n")


def _environment() -> dict[str, str]:
    """What every child gets: this environment without what is told to each of them by its need."""
    kept = {name: value for name, value in os.environ.items() if name not in TOLD_BY_NEED}
    return {"TOCSIN_LOG_FORMAT": "text", **kept, "PYTHONUNBUFFERED": "1"}


async def _get(url: str) -> Any:
    """The JSON at a URL of this machine; raises OSError unless it answers 200."""
    import aiohttp

    try:
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            if answer.status != 200:
                raise ConnectionError(f"{url} answered {answer.status}")
            return json.loads(await answer.text() or "null")
    except (aiohttp.ClientError, TimeoutError, ValueError) as fault:
        raise ConnectionError(f"{url}: {fault}") from None
