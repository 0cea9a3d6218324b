"""The whole API over a real socket and a real database, with two apps that must never see each other.

What the contract tests of the doors talk to: every router as wiring joins it, served by uvicorn on loopback.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import uvicorn

from tocsin import wiring
from tocsin.settings import Settings
from tocsin.storage import Database
from tocsin.storage.embedded import EmbeddedPostgres
from tocsin.tenants import organisations
from tocsin.tenants.credentials import add_credential
from tocsin.tenants.vault import Keyring
from tocsin.terms.clock import SystemClock
from tocsin.terms.outcomes import Mode
from tocsin.web import KeyAuthenticator, create

RECEIPT_KEY = b"0123456789abcdef" * 2
KEYRING = Keyring("k1", {"k1": b"1" * 32})
TOKEN = "a-token-of-a-phone:"


@dataclass(frozen=True)
class Reply:
    """What was answered."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One app's calls."""

    def __init__(self, session: aiohttp.ClientSession, url: str, app_id: UUID, key: str) -> None:
        self.session, self.url, self.app_id, self.key = session, url, app_id, key

    async def call(
        self, method: str, path: str, body: Any = None, *, raw: Any = None, headers: dict[str, str] | None = None
    ) -> Reply:
        """One request; `raw` octets or a stream of them are sent as they are."""
        sent = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"} | (headers or {})
        sent = {name: value for name, value in sent.items() if value is not None}
        data = raw if raw is not None or body is None else json.dumps(body).encode()
        async with self.session.request(
            method, self.url + path, data=data, headers=sent, skip_auto_headers=("Content-Type",), allow_redirects=False
        ) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def get(self, path: str, **more: Any) -> Reply:
        return await self.call("GET", path, **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> Reply:
        return await self.call("POST", path, body, **more)

    async def device(self, name: str, user: str | None = None) -> str:
        """Register a phone; gives its public id."""
        body = {"provider": "fcm", "token": TOKEN + name} | ({"user_id": user} if user else {})
        reply = await self.call("PUT", f"/v1/devices/{name}", body)
        assert reply.status in (200, 201), reply.body
        device_id: str = reply.json["device_id"]
        return device_id

    async def send(self, **to: Any) -> str:
        """Send a notification; gives its id."""
        reply = await self.post("/v1/notifications", {"to": to, "content": {"title": "Hi"}})
        assert reply.status == 202, reply.body
        notification_id: str = reply.json["id"]
        return notification_id


@dataclass(frozen=True)
class World:
    """The API, its owner's client and a stranger's."""

    app: Any
    url: str
    database: Database
    me: Client
    stranger: Client


@asynccontextmanager
async def fresh_database(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A migrated database for more than one test."""
    name = f"api_{uuid4().hex[:12]}"
    dsns = await postgres.create_database(name, template="migrated")
    database = await Database.connect(dsns.app)
    yield database
    await database.close()
    await postgres.drop_database(name)


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """An ASGI application on loopback; gives its URL."""
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", ws="none", http="httptools")
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        await task


@asynccontextmanager
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    """Two tenants with an app each, and the API between them."""
    settings = Settings(data_dir=tmp_path)
    clock = SystemClock()
    movers = wiring.Movers(database, clock)
    vendors = wiring.Vendors(settings, clock)
    doors = wiring.routers(settings, database, movers, vendors.by_name, clock, RECEIPT_KEY)
    app = create(doors, authenticator=KeyAuthenticator(database, clock))
    async with serving(app) as url, aiohttp.ClientSession() as session:
        clients = []
        for name in ("me", "stranger"):
            tenant_id = await organisations.create_tenant(database, name)
            app_id = await organisations.create_app(database, tenant_id, name, Mode.TEST)
            key = await organisations.create_key(database, app_id, name)
            clients.append(Client(session, url, app_id, key.text))
        yield World(app, url, database, *clients)
    await vendors.close()


async def give_credential(database: Database, app_id: UUID, provider: str, public: dict[str, Any]) -> UUID:
    """A credential whose secret nobody here needs."""
    return await add_credential(
        database, KEYRING, app_id, provider=provider, name="main", secret={"a": "b"}, check=lambda *_: public
    )


def conforms(app: Any, method: str, path: str, reply: Reply) -> None:
    """Check a reply against what the API says of itself: its status, and every member of its body."""
    document = app.openapi()
    described = document["paths"][path][method.lower()]["responses"]
    assert str(reply.status) in described, f"{method} {path} does not describe {reply.status}"
    content = described[str(reply.status)].get("content", {})
    if not reply.body:
        assert reply.status == 204
        return
    assert reply.headers["Content-Type"].partition(";")[0] in content
    schema = content.get("application/json", {}).get("schema")
    if schema:
        _fits(document, schema, reply.json, path)


def _fits(document: Any, schema: Any, value: Any, where: str) -> None:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        assert any(_may_fit(document, each, value, where) for each in schema["anyOf"]), f"{where}: {value!r}"
        return
    if "const" in schema:
        assert value == schema["const"], where
    if "enum" in schema:
        assert value in schema["enum"], where
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "null": type(None)}
    if schema.get("type") in kinds:
        assert isinstance(value, kinds[schema["type"]]), f"{where}: {value!r} is no {schema['type']}"
    if "properties" in schema:
        assert set(value) == set(schema["properties"]), where
        for name, inner in schema["properties"].items():
            _fits(document, inner, value[name], f"{where}/{name}")
    if isinstance(value, list) and "items" in schema:
        for index, each in enumerate(value):
            _fits(document, schema["items"], each, f"{where}/{index}")


def _may_fit(document: Any, schema: Any, value: Any, where: str) -> bool:
    try:
        _fits(document, schema, value, where)
    except AssertionError:
        return False
    return True
