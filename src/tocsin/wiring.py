"""The composition root: the only file that joins rooms, providers, lanes and storage into processes.

In: settings. Out: the API as an ASGI application, a worker, a keeper. Refuses to start on a database that would break
a promise, without a setting that the process cannot do without, or with a key file it cannot read.
"""

import asyncio
import os
import platform
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from fastapi import APIRouter, FastAPI
from pydantic import SecretStr
from starlette.types import Receive, Scope, Send

from tocsin import audience, content, dispatch, intake, journey, ledger
from tocsin.lanes import keeper as keeping
from tocsin.lanes.control import Control
from tocsin.lanes.lane import Name, Parked
from tocsin.lanes.planning import Planning
from tocsin.lanes.postgres import PostgresLane
from tocsin.lanes.returning import Returning
from tocsin.lanes.runner import Runner, Stage
from tocsin.lanes.sending import VISIBILITY, Sending, Steps
from tocsin.lanes.waking import CHANNEL, Bells, Waker
from tocsin.ledger import receipts
from tocsin.providers.base import BadCredential, Credential, Provider
from tocsin.providers.fcm import Fcm, FcmSettings
from tocsin.providers.webpush import WebPush, WebPushSettings
from tocsin.settings import Settings
from tocsin.storage import Database, Tx, partitions, roles
from tocsin.tenants import Keyring, active_credentials, credential
from tocsin.tenants.credentials import open_credential
from tocsin.tenants.vault import load_keyring
from tocsin.terms.batches import Answers, Begun, Hold
from tocsin.terms.clock import Clock, SystemClock
from tocsin.terms.handoffs import Accepted, AcceptedHint, Message, Options, Reached, Stopped
from tocsin.terms.ids import new
from tocsin.terms.outcomes import Mode
from tocsin.web import KeyAuthenticator, create, health, pages
from tocsin.web import demo as demo_page
from tocsin.web.idempotency import forget_expired
from tocsin.wire.endings import Origin
from tocsin.wire.engine import Engine

_log = structlog.get_logger(__name__)

_KEEPER_LATE: Final = 15.0
"""Seconds without a look of the keeper after which `/readyz` says so."""
_INSIDE_VISIBILITY: Final = 30.0


class Misconfigured(Exception):
    """A setting that this process cannot do without is absent or cannot be used; the text names it."""


# ---------------------------------------------------------------------- parts


def _dsn(value: SecretStr | None, name: str) -> str:
    if value is None:
        raise Misconfigured(f"set TOCSIN_{name}; `tocsin dev` brings a database of its own")
    return value.get_secret_value()


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Database]:
    """The database in the runtime role, once it is known to keep our promises."""
    database = await Database.connect(_dsn(settings.database_url, "DATABASE_URL"), size=settings.database_pool)
    try:
        await roles.verify(database)
        yield database
    finally:
        await database.close()


def _receipt_key(settings: Settings) -> bytes:
    if settings.receipt_key is None:
        raise Misconfigured("set TOCSIN_RECEIPT_KEY: receipts are signed by the workers and verified by the API")
    return receipts.load_key(settings.receipt_key)


class Vendors:
    """The providers, each with a wire to the world and one to the lab; neither reaches where the other does."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        lab = _lab_origin(settings)
        trusted = frozenset[tuple[str, int]]() if lab is None else frozenset({(lab.host, lab.port)})
        wires = {Mode.LIVE: Engine(), Mode.TEST: Engine(ca_file=settings.lab_ca, trusted=trusted)}
        self._engines = list(wires.values())
        self.by_name: Mapping[str, Provider] = {
            "fcm": Fcm(FcmSettings(lab), wires, clock),
            "webpush": WebPush(WebPushSettings(lab), wires, clock),
        }

    async def close(self) -> None:
        """End all connections."""
        for engine in self._engines:
            await engine.close()


def _lab_origin(settings: Settings) -> Origin | None:
    if settings.lab_url is None:
        return None
    parts = urlsplit(settings.lab_url)
    if parts.scheme != "https" or parts.hostname is None:
        raise Misconfigured("TOCSIN_LAB_URL is an origin such as https://localhost:9443")
    return Origin(parts.hostname, parts.port or 443)


def check_credential(settings: Settings, provider: str, secret: Mapping[str, Any], mode: Mode) -> Mapping[str, Any]:
    """The public part of a provider's secret; raises BadCredential, also for a provider there is not."""
    vendors = Vendors(settings, SystemClock()).by_name
    if provider not in vendors:
        raise BadCredential(f"there is no provider {provider!r}; there are {', '.join(sorted(vendors))}")
    return vendors[provider].check_credential(secret, mode)


class Movers:
    """What moves hints and runs over one database: the lanes, the Book, wake-ups and a caller's wishes."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.accepted = PostgresLane(Name.ACCEPTED, database, clock)
        self.planned = PostgresLane(Name.PLANNED, database, clock)
        self.returns = PostgresLane(Name.RETURNS, database, clock)
        self.book = ledger.LedgerBook()
        self.waker = Waker(database.notify, clock)
        self.control = Control(
            database=database, book=self.book, accepted=self.accepted, planned=self.planned, waker=self.waker
        )


# ---------------------------------------------------------------------- the API


def routers(
    settings: Settings,
    database: Database,
    movers: Movers,
    vendors: Mapping[str, Provider],
    clock: Clock,
    receipt_key: bytes,
) -> Sequence[APIRouter]:
    """Every door of the API, joined to what is behind it."""

    async def check(tx: Tx, app_id: UUID, message: Message, options: Options) -> None:
        usable = await active_credentials(tx, app_id)
        content.check(message, options, [vendors[name] for name in usable if name in vendors] or vendors.values())

    async def admit(tx: Tx, accepted: Accepted, message: Message) -> None:
        await content.keep(tx, accepted.app_id, accepted.notification_id, message)
        await movers.book.open(tx, accepted, await audience.newest(tx, accepted.app_id))
        first = AcceptedHint(accepted.app_id, accepted.notification_id, 0)
        await movers.accepted.put(tx, [Parked(first, accepted.options.lane_class)])

    doors = [
        health.routes(_probes(settings, database)),
        intake.routes(
            database=database,
            check=check,
            unknown=audience.unknown,
            admit=admit,
            wake=lambda: movers.waker.wake(Name.ACCEPTED),
        ),
        audience.router(database=database, providers=vendors, clock=clock),
        ledger.routes(
            database=database,
            control=movers.control,
            names=audience.names,
            locate=audience.locate,
            receipt_key=receipt_key,
        ),
        pages.routes(database=database),
    ]
    return [*doors, demo_page.routes()] if settings.demo else doors


def _probes(settings: Settings, database: Database) -> Mapping[str, health.Probe]:
    async def reach_database() -> str | None:
        async with database.transaction() as tx:
            await tx.execute("select 1")
        return None

    async def look_for_keeper() -> str | None:
        late = await keeping.age(database)
        if late is None:
            return "no keeper has looked yet; start one with `tocsin keep`"
        return None if late < _KEEPER_LATE else f"the keeper last looked {late:.0f} s ago"

    return {"database": reach_database, "keeper": look_for_keeper}


class Api:
    """The API as an ASGI application: it opens the database when the server starts and closes it at the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app: FastAPI | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or the server's start and end."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            assert self._app is not None, "the server starts the application before it serves"
            await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            async with self._open() as self._app:
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except Exception as fault:
            _log.exception("api.failed")
            await send({"type": "lifespan.startup.failed", "message": str(fault)})
        else:
            await send({"type": "lifespan.shutdown.complete"})

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[FastAPI]:
        clock = SystemClock()
        key = _receipt_key(self._settings)
        vendors = Vendors(self._settings, clock)
        async with _database(self._settings) as database:
            movers = Movers(database, clock)
            doors = routers(self._settings, database, movers, vendors.by_name, clock, key)
            yield create(doors, authenticator=KeyAuthenticator(database, clock))


def create_api(settings: Settings) -> Api:
    """The API of one process."""
    return Api(settings)


# ---------------------------------------------------------------------- the worker


class _Post:
    """Joins the steps of the stage `planned`: content opens and renders, dispatch opens its line and sends."""

    def __init__(self, vendors: Mapping[str, Provider], keyring: Keyring, sign: content.Sign, clock: Clock) -> None:
        self._clock = clock
        self._keyring = keyring
        self._sign = sign
        self._messages = content.Messages(content.recall, intake.recall)
        self._lines = dispatch.Lines(vendors, self._open_credential)
        self._opened: dict[tuple[UUID, int], Credential] = {}

    async def _open_credential(self, tx: Tx, app_id: UUID, credential_id: UUID) -> Credential | None:
        sealed = await credential(tx, app_id, credential_id)
        if sealed is None:
            return None
        known = self._opened.get((credential_id, sealed.version))
        if known is None:
            opened = open_credential(sealed, self._keyring)
            known = Credential(app_id, credential_id, opened.provider, opened.mode, opened.version, opened.secret)
            if len(self._opened) > 1000:
                self._opened.clear()
            self._opened[credential_id, sealed.version] = known
        return known

    async def prepare(self, tx: Tx, begun: Begun) -> "_Letter | Hold | Stopped":
        line = await self._lines.open(tx, begun)
        if isinstance(line, Hold | Stopped):
            return line
        message, options = await self._messages.open(tx, begun)
        return _Letter(line, message, options, self._clock.monotonic())

    async def send(self, letter: "_Letter", begun: Begun, reached: Sequence[Reached]) -> AsyncIterator[Answers]:
        render, send = journey.SEND.steps
        parcel = render(letter.message, letter.options, begun, reached, self._sign, letter.opened_at)
        async for answers in send(letter.line, begun, parcel):
            yield answers

    async def note(self, tx: Tx, letter: "_Letter", fates: Sequence[Any]) -> None:
        await self._lines.note(tx, letter.line, fates)


class _Letter:
    """What sending a batch needs besides its devices."""

    __slots__ = ("line", "message", "opened_at", "options")

    def __init__(self, line: dispatch.Line, message: Message, options: Options, opened_at: float) -> None:
        self.line, self.message, self.options, self.opened_at = line, message, options, opened_at


async def run_worker(settings: Settings, stop: asyncio.Event) -> None:
    """Plan, send and record until `stop` is set, then until what was begun has ended."""
    if settings.vault_keys is None:
        raise Misconfigured("set TOCSIN_VAULT_KEYS: a worker opens provider credentials")
    clock = SystemClock()
    vendors = Vendors(settings, clock)
    sign = partial(receipts.sign, _receipt_key(settings))
    post = _Post(vendors.by_name, load_keyring(settings.vault_keys), sign, clock)
    async with _database(settings) as database:
        movers = Movers(database, clock)
        bells = Bells()
        runners = [
            Runner(lane, stage, slots=slots, visibility=visibility, bell=bells.of(lane.name), clock=clock)
            for lane, stage, slots, visibility in _stages(settings, database, movers, post, clock)
        ]
        listening = asyncio.create_task(_listen(database, bells))
        try:
            await asyncio.gather(*(runner.run(stop) for runner in runners))
        finally:
            listening.cancel()
            await vendors.close()


def _stages(
    settings: Settings, database: Database, movers: Movers, post: _Post, clock: Clock
) -> Sequence[tuple[PostgresLane, Stage, int, float]]:
    """The journey's stages over their lanes: (lane, stage, hints at once, seconds a hint is held)."""
    address, plan = journey.PLAN.steps
    (forget,) = journey.RETURN.steps
    assert journey.PLAN.load is not None
    assert journey.SEND.load is not None
    planning = Planning(
        database=database,
        book=movers.book,
        accepted=movers.accepted,
        planned=movers.planned,
        waker=movers.waker,
        recall=journey.PLAN.load,
        address=address,
        plan=plan,
    )
    sending = Sending(
        database=database,
        book=movers.book,
        planned=movers.planned,
        returns=movers.returns,
        waker=movers.waker,
        steps=Steps(journey.SEND.load, post.prepare, post.send, post.note),
        clock=clock,
        holder=f"{platform.node()}:{os.getpid()}:{new().hex[-8:]}",
    )
    returning = Returning(database=database, returns=movers.returns, forget=forget)
    return [
        (movers.accepted, planning, 1, _INSIDE_VISIBILITY),
        (movers.planned, sending, settings.worker_batches, VISIBILITY),
        (movers.returns, returning, 1, _INSIDE_VISIBILITY),
    ]


async def _listen(database: Database, bells: Bells) -> None:
    async for payload in database.listen(CHANNEL):
        if payload is None:
            bells.ring_all()
        else:
            bells.ring(payload)


# ---------------------------------------------------------------------- the keeper


async def run_keeper(settings: Settings, stop: asyncio.Event) -> None:
    """Keep watch until `stop` is set."""
    clock = SystemClock()
    owner = _dsn(settings.database_owner_url, "DATABASE_OWNER_URL")
    async with _database(settings) as database:
        watching = await Database.connect(_dsn(settings.database_keeper_url, "DATABASE_KEEPER_URL"), size=2)
        movers = Movers(database, clock)
        keeper = keeping.Keeper(
            database=watching,
            watch=ledger.LedgerWatch(),
            control=movers.control,
            accepted=PostgresLane(Name.ACCEPTED, watching, clock),
            planned=PostgresLane(Name.PLANNED, watching, clock),
            waker=movers.waker,
            chores=_chores(settings, owner, watching),
            clock=clock,
        )
        try:
            await keeper.run(stop)
        finally:
            await watching.close()


def _chores(settings: Settings, owner_dsn: str, watching: Database) -> Sequence[Callable[[], Any]]:
    return [
        lambda: partitions.make_ahead(owner_dsn),
        lambda: partitions.drop_past(owner_dsn, settings.retention_days),
        lambda: forget_expired(watching),
    ]
