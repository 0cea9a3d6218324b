"""The tables of tenants, apps, keys and credentials: one function a statement, each in the caller's open transaction.

Gives rows as asyncpg gives them; what they mean is said by the modules beside it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast
from uuid import UUID

from tocsin.storage import Queries, Tx

SQL = Queries.beside(__file__)

Row = Mapping[str, Any]


async def find_key(tx: Tx, key_id: str) -> Row | None:
    """The key of this id, whatever its tenant: sets the transaction's key scope."""
    await tx.execute(SQL.use_key, key_id)
    return cast("Row | None", await tx.fetchrow(SQL.find_key, key_id))


async def insert_tenant(tx: Tx, tenant_id: UUID, name: str) -> None:
    """Add a tenant."""
    await tx.execute(SQL.insert_tenant, tenant_id, name)


async def tenant_exists(tx: Tx, tenant_id: UUID) -> bool:
    """Whether the tenant of this scope is there."""
    return bool(await tx.fetchval(SQL.tenant_exists, tenant_id))


async def insert_app(tx: Tx, app_id: UUID, tenant_id: UUID, name: str, mode: str) -> None:
    """Add an app of a tenant."""
    await tx.execute(SQL.insert_app, app_id, tenant_id, name, mode)


async def find_app(tx: Tx, app_id: UUID) -> Row | None:
    """The app, in its own scope or its tenant's."""
    return cast("Row | None", await tx.fetchrow(SQL.find_app, app_id))


async def insert_key(tx: Tx, key_id: str, app: Row, name: str, digest: bytes, last4: str) -> None:
    """Add a key of an app, in the scope of its tenant."""
    await tx.execute(SQL.insert_key, key_id, app["tenant_id"], app["app_id"], app["mode"], name, digest, last4)


async def revoke_key(tx: Tx, key_id: str) -> Any:
    """When the key was revoked (now, or before), or None if this tenant has no such key."""
    return await tx.fetchval(SQL.revoke_key, key_id)


async def list_tenants(tx: Tx) -> Sequence[Row]:
    """All tenants that the role may see."""
    return cast("Sequence[Row]", await tx.fetch(SQL.list_tenants))


async def list_apps(tx: Tx, tenant_id: UUID | None) -> Sequence[Row]:
    """The apps of one tenant, or of all that the role may see."""
    return cast("Sequence[Row]", await tx.fetch(SQL.list_apps, tenant_id))


async def list_keys(tx: Tx, app_id: UUID | None) -> Sequence[Row]:
    """The keys of one app, or of all that the role may see; never a digest."""
    return cast("Sequence[Row]", await tx.fetch(SQL.list_keys, app_id))


async def lock_credential(tx: Tx, app_id: UUID, provider: str, name: str) -> Row | None:
    """The id and version of a named credential, held until the transaction ends."""
    return cast("Row | None", await tx.fetchrow(SQL.lock_credential, app_id, provider, name))


async def insert_credential(tx: Tx, *values: Any) -> None:
    """Add a credential: app, id, provider, name, mode, sealed, envelope key, version, public."""
    await tx.execute(SQL.insert_credential, *values)


async def replace_credential(tx: Tx, *values: Any) -> None:
    """Put another secret in its place: app, id, sealed, envelope key, version, public."""
    await tx.execute(SQL.replace_credential, *values)


async def disable_credential(tx: Tx, app_id: UUID, credential_id: UUID) -> bool:
    """Take it out of use; False if there is none."""
    return await tx.fetchval(SQL.disable_credential, app_id, credential_id) is not None


async def find_credential(tx: Tx, app_id: UUID, credential_id: UUID) -> Row | None:
    """A credential in use, sealed, or None."""
    return cast("Row | None", await tx.fetchrow(SQL.find_credential, app_id, credential_id))


async def active_credentials(tx: Tx, app_id: UUID) -> Sequence[Row]:
    """For each provider the credential in use that was set last."""
    return cast("Sequence[Row]", await tx.fetch(SQL.active_credentials, app_id))


async def public_credential(tx: Tx, app_id: UUID, provider: str) -> Mapping[str, Any] | None:
    """The public part of the provider's credential in use, or None."""
    return cast("Mapping[str, Any] | None", await tx.fetchval(SQL.public_credential, app_id, provider))


async def list_credentials(tx: Tx, app_id: UUID) -> Sequence[Row]:
    """The app's credentials without their secrets."""
    return cast("Sequence[Row]", await tx.fetch(SQL.list_credentials, app_id))
