"""The demo tenant of `tocsin dev`: one test app, one API key, a credential for each provider of the lab.

In: the database and the lab's accounts. Out: the app and its key. All of it is made once and found again at the next
start; what was lost meanwhile (a database, a keyring, an account of the lab) is made anew.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from tocsin.cli.running import write_private
from tocsin.cli.state import StateDir
from tocsin.storage import Database
from tocsin.tenants import find_key, keys, organisations
from tocsin.tenants.credentials import add_credential, list_credentials
from tocsin.tenants.vault import Keyring
from tocsin.terms.outcomes import Mode

NAME: Final = "demo"

Check = Callable[[str, Mapping[str, Any], Mode], Mapping[str, Any]]
"""A provider's check of a secret: (provider, secret, mode) to its public part; raises what is wrong with it."""


@dataclass(frozen=True)
class Demo:
    """The demo app. `accounts` are digests of the lab's accounts it was given, by provider."""

    app_id: UUID
    api_key: str = field(repr=False)
    accounts: Mapping[str, str] = field(default_factory=dict)


async def provide(
    state: StateDir, database: Database, keyring: Keyring, accounts: Mapping[str, Mapping[str, Any]], check: Check
) -> Demo:
    """Find or make the demo app, its key and its credentials. `accounts` are the lab's, by provider."""
    demo = await _known(state, database)
    if demo is None:
        tenant_id = await organisations.create_tenant(database, NAME)
        app_id = await organisations.create_app(database, tenant_id, NAME, Mode.TEST)
        demo = Demo(app_id, (await organisations.create_key(database, app_id, NAME)).text)
        _keep(state, demo)
    sealed_with = {
        row.provider: row.envelope_key_id
        for row in await list_credentials(database, demo.app_id)
        if row.name == NAME and row.state == "active"
    }
    for provider, secret in accounts.items():
        if demo.accounts.get(provider) == _digest(secret) and sealed_with.get(provider) == keyring.active:
            continue
        await add_credential(
            database,
            keyring,
            demo.app_id,
            provider=provider,
            name=NAME,
            secret=secret,
            check=lambda value, mode, provider=provider: check(provider, value, mode),  # type: ignore[misc]
        )
    demo = Demo(demo.app_id, demo.api_key, {provider: _digest(secret) for provider, secret in accounts.items()})
    _keep(state, demo)
    return demo


async def _known(state: StateDir, database: Database) -> Demo | None:
    """The demo app of an earlier start, if its key is still good in this database."""
    try:
        kept = json.loads(state.demo.read_text("utf-8"))
        demo = Demo(UUID(kept["app_id"]), str(kept["api_key"]), dict(kept["accounts"]))
        key = keys.parse(demo.api_key)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    async with database.transaction() as tx:
        found = await find_key(tx, key.key_id)
    good = found is not None and keys.matches(found, key) and found.app_id == demo.app_id
    return demo if good else None


def _keep(state: StateDir, demo: Demo) -> None:
    kept = {"app_id": str(demo.app_id), "api_key": demo.api_key, "accounts": dict(demo.accounts)}
    write_private(state.demo, json.dumps(kept) + "\n")


def _digest(secret: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(secret, sort_keys=True).encode()).hexdigest()
