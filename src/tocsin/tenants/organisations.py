"""Tenants, apps and their keys: made, listed and revoked by whoever operates the installation.

Takes a database in the role `tocsin_app` to make something (in the scope of its tenant) and one in the role
`tocsin_owner` to list across tenants. Refuses ids that are not there with LookupError, names with ValueError.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tocsin.storage import Database
from tocsin.tenants import keys, store
from tocsin.terms import ids
from tocsin.terms.outcomes import Mode


@dataclass(frozen=True, slots=True)
class Tenant:
    """An organisation."""

    tenant_id: UUID
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class App:
    """An app of a tenant: it owns credentials, keys, devices, everything."""

    app_id: UUID
    tenant_id: UUID
    name: str
    mode: Mode
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Key:
    """What can be told of an API key after it was made."""

    key_id: str
    tenant_id: UUID
    app_id: UUID
    mode: Mode
    name: str
    last4: str
    created_at: datetime
    revoked_at: datetime | None


async def create_tenant(database: Database, name: str) -> UUID:
    """Make a tenant; gives its id. Raises ValueError for an empty name or one over 200 letters."""
    tenant_id = ids.new()
    async with database.tenant_scope(tenant_id) as tx:
        await store.insert_tenant(tx, tenant_id, _named(name))
    return tenant_id


async def create_app(database: Database, tenant_id: UUID, name: str, mode: Mode) -> UUID:
    """Make an app of a tenant; gives its id. Raises LookupError if there is no such tenant."""
    app_id = ids.new()
    async with database.tenant_scope(tenant_id) as tx:
        if not await store.tenant_exists(tx, tenant_id):
            raise LookupError(f"there is no tenant {ids.show(ids.TENANT, tenant_id)}")
        await store.insert_app(tx, app_id, tenant_id, _named(name), mode.value)
    return app_id


async def create_key(database: Database, app_id: UUID, name: str, *, pepper: bytes = b"") -> keys.ApiKey:
    """Make an API key of an app. Its text exists in the answer only. Raises LookupError if there is no such app."""
    async with database.scope(app_id) as tx:
        app = await store.find_app(tx, app_id)
    if app is None:
        raise LookupError(f"there is no app {ids.show(ids.APP, app_id)}")
    key = keys.mint(Mode(app["mode"]))
    async with database.tenant_scope(app["tenant_id"]) as tx:
        await store.insert_key(tx, key.key_id, app, _named(name), keys.digest(key.secret, pepper), key.last4)
    return key


async def revoke_key(database: Database, key_id: str) -> datetime:
    """End a key for good; gives when it ended, also if that was before. Raises LookupError if there is none."""
    async with database.transaction() as tx:
        found = await keys.find_key(tx, key_id)
    if found is None:
        raise LookupError(f"there is no key {key_id}")
    async with database.tenant_scope(found.tenant_id) as tx:
        revoked_at: datetime = await store.revoke_key(tx, key_id)
    return revoked_at


async def list_tenants(owner: Database) -> Sequence[Tenant]:
    """All tenants, oldest first. `owner` is a database in the owner's role."""
    async with owner.transaction() as tx:
        return [Tenant(**row) for row in await store.list_tenants(tx)]


async def list_apps(owner: Database, tenant_id: UUID | None = None) -> Sequence[App]:
    """The apps of a tenant, or all; oldest first."""
    async with owner.transaction() as tx:
        return [App(**{**row, "mode": Mode(row["mode"])}) for row in await store.list_apps(tx, tenant_id)]


async def list_keys(owner: Database, app_id: UUID | None = None) -> Sequence[Key]:
    """The keys of an app, or all; oldest first, revoked ones included."""
    async with owner.transaction() as tx:
        return [Key(**{**row, "mode": Mode(row["mode"])}) for row in await store.list_keys(tx, app_id)]


def _named(name: str) -> str:
    if not 0 < len(name.strip()) <= 200 or not name.isprintable():
        raise ValueError("a name has 1 to 200 printable characters")
    return name.strip()
