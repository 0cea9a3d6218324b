"""The door of devices, served by a real uvicorn: what the contract tests of devices and imports talk to.

As a program (`python -m tests.contracts.devices_api DSN PORT`) it is a process of its own, to be measured and killed.
A key is `key-<app id>`: whose it is says itself, since keys are another room's business.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import uvicorn

from tocsin import audience
from tocsin.audience.body import Providers
from tocsin.providers.base import Address, BadToken
from tocsin.storage import Database
from tocsin.terms.clock import SystemClock
from tocsin.terms.errors import Refused
from tocsin.terms.outcomes import Mode
from tocsin.web import Caller, create


class Phones:
    """A provider whose tokens are at least eight characters."""

    def check_token(self, token: Any, subscription: Any, mode: Mode) -> Address:
        if not isinstance(token, str) or subscription is not None or len(token) < 8:
            raise BadToken("a phone has a token of eight characters or more")
        return Address(token, None)


class Browsers:
    """A provider whose devices have subscriptions."""

    def check_token(self, token: Any, subscription: Any, mode: Mode) -> Address:
        if token is not None or not isinstance(subscription, dict):
            raise BadToken("a browser has a subscription and no token")
        return Address(subscription["endpoint"], subscription["keys"])


PROVIDERS: Providers = {"fcm": Phones(), "webpush": Browsers()}


async def authenticate(key: str | None) -> Caller:
    if key is None or not key.startswith("key-"):
        raise Refused("unauthorized", "Not a key.")
    app_id = UUID(key.removeprefix("key-"))
    return Caller(app_id, app_id, Mode.TEST, "key")


def key(app_id: UUID) -> dict[str, str]:
    """The header that acts for an app."""
    return {"Authorization": f"Bearer key-{app_id}"}


@asynccontextmanager
async def serving(database: Database, port: int = 0) -> AsyncIterator[str]:
    """The API on loopback; gives its URL."""
    application = create(
        [audience.router(database=database, providers=PROVIDERS, clock=SystemClock())], authenticator=authenticate
    )
    config = uvicorn.Config(application, log_level="warning", access_log=False, lifespan="off", http="httptools")
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", port))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        await task


async def _main(dsn: str, port: int) -> None:
    database = await Database.connect(dsn)
    async with serving(database, port) as url:
        print(url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
