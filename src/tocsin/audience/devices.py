"""Devices as their callers know them: register, read, list, delete, log out.

In: checked registrations. Out: devices. A token belongs to one device of an app: whoever registers it last has it,
and the device that had it is superseded in the same transaction. One path serves a PUT and a chunk of an import.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from tocsin.audience.store import SQL
from tocsin.storage import Tx
from tocsin.terms import ids

STATES: Final = ("active", "dead", "superseded", "logged_out")
"""What a device can be: only an active one is a target."""


class Registration(NamedTuple):
    """The full state of a device, checked. `token` is what the provider's check gave: an FCM token or an endpoint."""

    external_id: str
    provider: str
    environment: str
    token: str
    keys: Mapping[str, str] | None
    user_id: str | None
    locale: str | None
    timezone: str | None
    attributes: Mapping[str, Any]


class Device(NamedTuple):
    """A device as it is shown: of its token only the last six characters and its SHA-256."""

    device_id: UUID
    external_id: str
    provider: str
    environment: str
    token_suffix: str | None
    token_hash: bytes | None
    user_id: str | None
    locale: str | None
    timezone: str | None
    state: str
    created_at: datetime
    updated_at: datetime
    attributes: Mapping[str, Any]


class Filters(NamedTuple):
    """Which devices to list; None does not filter."""

    user_id: str | None = None
    provider: str | None = None
    state: str | None = None


class _Claim(NamedTuple):
    """A token as it is owned: unique in an app, whatever has become of its device."""

    provider: str
    environment: str
    token_hash: bytes


def _lock_key(*parts: str | bytes) -> int:
    """The key of an advisory lock: 64 bits of a hash, signed as PostgreSQL's bigint is."""
    digest = hashlib.blake2b(digest_size=8, person=b"audience")
    for part in parts:
        octets = part.encode() if isinstance(part, str) else part
        digest.update(len(octets).to_bytes(4, "big") + octets)
    return int.from_bytes(digest.digest(), "big", signed=True)


async def register(tx: Tx, app_id: UUID, wanted: Sequence[Registration]) -> dict[str, bool]:
    """Bring these devices to the state given; gives, for each external id, whether it is new.

    Of two registrations with one external id, or with one token, the last wins. Registrations that run at the same time
    and touch the same devices or tokens take turns: they can neither deadlock nor leave a token with two owners.
    """
    last: dict[str, Registration] = {}
    for one in wanted:
        last.pop(one.external_id, None)  # to stand where it came last, so that the last claim of a token wins below
        last[one.external_id] = one
    claims = {name: _claim(one) for name, one in last.items()}
    owners = {claim: name for name, claim in claims.items()}
    external_ids = sorted(last)

    await _lock(tx, app_id, external_ids, list(owners))
    before = await tx.fetch(
        SQL.lock_rows,
        app_id,
        external_ids,
        [claim.provider for claim in owners],
        [claim.environment for claim in owners],
        [claim.token_hash for claim in owners],
    )
    losers = [
        row["device_id"]
        for row in before
        if owners.get(_Claim(row["provider"], row["environment"], row["token_hash"]), row["external_id"])
        != row["external_id"]
    ]
    if losers:
        await tx.execute(SQL.supersede, app_id, losers)
    return await _write(tx, app_id, [last[name] for name in external_ids], claims, owners)


def _claim(one: Registration) -> _Claim:
    return _Claim(one.provider, one.environment, hashlib.sha256(one.token.encode()).digest())


async def _lock(tx: Tx, app_id: UUID, external_ids: Sequence[str], claims: Sequence[_Claim]) -> None:
    """Take turns with every registration that shares an external id or a token with this one.

    A single device locks its two names; a chunk locks the app, which waits for single ones and for other chunks.
    """
    everything = _lock_key(app_id.bytes)
    if len(external_ids) > 1:
        await tx.execute(SQL.lock_app, everything)
    elif external_ids:
        device = _lock_key(app_id.bytes, external_ids[0])
        token = _lock_key(app_id.bytes, *claims[0])
        await tx.execute(SQL.lock_device, everything, *sorted((device, token)))


async def _write(
    tx: Tx,
    app_id: UUID,
    registrations: Sequence[Registration],
    claims: Mapping[str, _Claim],
    owners: Mapping[_Claim, str],
) -> dict[str, bool]:
    minted = {one.external_id: ids.new() for one in registrations}
    holds = [owners[claims[one.external_id]] == one.external_id for one in registrations]
    rows = await tx.fetch(
        SQL.upsert,
        app_id,
        list(minted.values()),
        list(minted),
        [one.provider for one in registrations],
        [one.environment for one in registrations],
        [one.token if held else None for one, held in zip(registrations, holds, strict=True)],
        [claims[one.external_id].token_hash if held else None for one, held in zip(registrations, holds, strict=True)],
        [one.keys if held else None for one, held in zip(registrations, holds, strict=True)],
        [one.user_id for one in registrations],
        [one.locale for one in registrations],
        [one.timezone for one in registrations],
        ["active" if held else "superseded" for held in holds],
    )
    stored = {row["external_id"]: row["device_id"] for row in rows}
    created = {name: stored[name] == minted[name] for name in stored}
    described = [one for one in registrations if one.attributes]
    if described:
        device_ids = [stored[one.external_id] for one in described]
        await tx.execute(SQL.describe, app_id, device_ids, [one.attributes for one in described])
    bare = [stored[one.external_id] for one in registrations if not one.attributes and not created[one.external_id]]
    if bare:
        await tx.execute(SQL.undescribe, app_id, bare)
    return created


async def get(tx: Tx, app_id: UUID, external_id: str) -> Device | None:
    """The device of this external id, or None."""
    row = await tx.fetchrow(SQL.read_device, app_id, external_id)
    return None if row is None else Device(**row)


async def listed(tx: Tx, app_id: UUID, filters: Filters, after: UUID | None, limit: int) -> list[Device]:
    """Up to `limit` devices in the order in which they were first registered, after the device `after`."""
    asked = (app_id, after or UUID(int=0), filters.provider, filters.state, limit)
    if filters.user_id is not None:
        rows = await tx.fetch(SQL.list_devices_of_user, *asked, filters.user_id)
    elif filters.state in (None, "active"):
        rows = await tx.fetch(SQL.list_devices, *asked)
    else:
        rows = await tx.fetch(SQL.list_inactive, *asked)
    return [Device(**row) for row in rows]


async def delete(tx: Tx, app_id: UUID, external_id: str) -> bool:
    """Delete a device with all that is known of it; whether there was one."""
    return await tx.fetchval(SQL.delete_device, app_id, external_id) is not None


async def logout(tx: Tx, app_id: UUID, external_id: str) -> Device | None:
    """Take the user from a device: until it registers again it is nobody's and no target. None if there is no device.

    What was planned for the user before is not sent to it either, since `bound_at` is now later than the plan.
    """
    if await tx.fetchval(SQL.logout, app_id, external_id) is None:
        return None
    return await get(tx, app_id, external_id)
