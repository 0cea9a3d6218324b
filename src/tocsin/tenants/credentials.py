"""Provider credentials: sealed when they come in, opened only by a process that holds the keyring.

In: the secret as a provider gave it. Out: the sealed row, its public part, or, with a keyring, the secret.
Refuses a seal that was moved between rows, credentials or versions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from tocsin.storage import Database, Tx
from tocsin.tenants import store
from tocsin.tenants.vault import Keyring, key_id
from tocsin.terms import ids
from tocsin.terms.outcomes import Mode


@dataclass(frozen=True, slots=True)
class Sealed:
    """A credential as it is stored. Any process may hold it."""

    app_id: UUID
    credential_id: UUID
    provider: str
    mode: Mode
    version: int
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """A credential in the clear: only in processes that send. Its repr shows no secret."""

    app_id: UUID
    credential_id: UUID
    provider: str
    mode: Mode
    version: int
    secret: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Listed:
    """What can be told of a credential."""

    credential_id: UUID
    provider: str
    name: str
    mode: Mode
    version: int
    envelope_key_id: str
    public: Mapping[str, Any]
    state: str
    created_at: datetime
    updated_at: datetime


async def add_credential(
    database: Database,
    keyring: Keyring,
    app_id: UUID,
    *,
    provider: str,
    name: str,
    secret: Mapping[str, Any],
    check: Callable[[Mapping[str, Any], Mode], Mapping[str, Any]],
) -> UUID:
    """Seal a secret under (provider, name), or put it in the place of the one there; gives the credential's id.

    `check` is the provider's own check of a secret: it gives the public part and raises what is wrong with it.
    Raises LookupError if there is no such app.
    """
    async with database.scope(app_id) as tx:
        app = await store.find_app(tx, app_id)
        if app is None:
            raise LookupError(f"there is no app {ids.show(ids.APP, app_id)}")
        mode = Mode(app["mode"])
        public = dict(check(secret, mode))
        there = await store.lock_credential(tx, app_id, provider, name)
        credential_id = there["credential_id"] if there else ids.new()
        version = there["version"] + 1 if there else 1
        sealed = keyring.seal(orjson.dumps(dict(secret)), _row(app_id, credential_id, provider, version))
        if there:
            await store.replace_credential(tx, app_id, credential_id, sealed, key_id(sealed), version, public)
        else:
            await store.insert_credential(
                tx, app_id, credential_id, provider, name, mode.value, sealed, key_id(sealed), version, public
            )
    return UUID(str(credential_id))


async def disable_credential(database: Database, app_id: UUID, credential_id: UUID) -> None:
    """Take a credential out of use: nothing is sent with it any more. Raises LookupError if there is none."""
    async with database.scope(app_id) as tx:
        if not await store.disable_credential(tx, app_id, credential_id):
            raise LookupError(f"there is no credential {ids.show(ids.CREDENTIAL, credential_id)}")


async def list_credentials(database: Database, app_id: UUID) -> Sequence[Listed]:
    """The app's credentials by provider and name, without their secrets."""
    async with database.scope(app_id) as tx:
        rows = await store.list_credentials(tx, app_id)
    return [Listed(**{**row, "mode": Mode(row["mode"])}) for row in rows]


async def credential(tx: Tx, app_id: UUID, credential_id: UUID) -> Sealed | None:
    """A credential in use, still sealed; None if there is none or it was disabled."""
    row = await store.find_credential(tx, app_id, credential_id)
    if row is None:
        return None
    return Sealed(
        row["app_id"], row["credential_id"], row["provider"], Mode(row["mode"]), row["version"], row["sealed"]
    )


def open_credential(sealed: Sealed, keyring: Keyring) -> Opened:
    """The credential in the clear; raises BadSeal."""
    row = _row(sealed.app_id, sealed.credential_id, sealed.provider, sealed.version)
    secret = orjson.loads(keyring.open(sealed.sealed, row))
    return Opened(sealed.app_id, sealed.credential_id, sealed.provider, sealed.mode, sealed.version, secret)


async def active_credentials(tx: Tx, app_id: UUID) -> Mapping[str, UUID]:
    """Which credential each provider of the app sends with: the one in use that was set last."""
    return {row["provider"]: row["credential_id"] for row in await store.active_credentials(tx, app_id)}


async def public_credential(tx: Tx, app_id: UUID, provider: str) -> Mapping[str, Any] | None:
    """The public part (such as a VAPID public key) of the credential in use, or None."""
    return await store.public_credential(tx, app_id, provider)


def _row(app_id: UUID, credential_id: UUID, provider: str, version: int) -> str:
    """What a seal is bound to: it opens in this row, for this provider, in this version, and nowhere else."""
    return f"tenants.credentials|{app_id}|{credential_id}|{provider}|{version}"
