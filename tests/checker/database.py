"""Reads D, the database, as a role that reads every app's rows and writes none.

Gives runs, batches, terminal rows, attempts and devices of the apps asked for. Refuses a role that row-level security
would show only a part to: what it does not see would look lost.
"""

import json
from collections.abc import Collection
from typing import Any
from uuid import UUID

import asyncpg
from tests.checker.evidence import Attempt, Batch, Database, Device, Row, Run

STATES = ("sent", "rejected", "expired", "cancelled", "suppressed", "failed")

_SEES_ALL = "select rolsuper or rolbypassrls from pg_roles where rolname = current_user"
_OWNERS = "select notification_id, app_id from intake.notifications"
_RUNS = """
select app_id, notification_id, extract(epoch from n.accepted_at)::float8 as accepted_at,
  extract(epoch from n.expires_at)::float8 as expires_at, r.status, r.planned, r.targeted, r.counts::text as counts
from intake.notifications n left join ledger.runs r using (app_id, notification_id) where app_id = any($1)
"""
_BATCHES = """
select notification_id, batch_no, n, coalesce(cardinality(device_ids), 0) as remaining,
  settled_at is not null as settled, sent, rejected, expired, cancelled, suppressed, failed
from ledger.batches where app_id = any($1) order by batch_no
"""
_ROWS = """
select notification_id, device_id, state, code, attempts, batch_no, extract(epoch from settled_at)::float8 as at
from ledger.deliveries where app_id = any($1)
"""
_ATTEMPTS = """
select notification_id, device_id, batch_no, epoch, verdict, code, extract(epoch from at)::float8 as at
from ledger.attempts where app_id = any($1) order by ledger.attempts.at
"""
_DEVICES = """
select app_id, device_id, external_id, state, extract(epoch from token_set_at)::float8 as at
from audience.devices where app_id = any($1)
"""


class Blind(Exception):
    """The role does not see every row, so that nothing can be judged by it."""


async def read(dsn: str, apps: Collection[bytes]) -> Database:
    """Everything about `apps`, in one snapshot; raises Blind."""
    connection = await asyncpg.connect(dsn)
    try:
        if not await connection.fetchval(_SEES_ALL):
            raise Blind("the reading role needs SUPERUSER or BYPASSRLS: row-level security would hide rows from it")
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await _read(connection, [UUID(bytes=app) for app in apps])
    finally:
        await connection.close()


async def _read(connection: Any, apps: list[UUID]) -> Database:
    found = Database()
    for row in await connection.fetch(_OWNERS):
        found.owners[row["notification_id"].bytes] = row["app_id"].bytes
    for row in await connection.fetch(_RUNS, apps):
        found.runs[row["notification_id"].bytes] = Run(
            app=row["app_id"].bytes,
            accepted_at=row["accepted_at"],
            expires_at=row["expires_at"],
            status=row["status"] or "missing",
            planned=bool(row["planned"]),
            targeted=row["targeted"] or 0,
            counts=None if row["counts"] is None else json.loads(row["counts"]),
        )
    for row in await connection.fetch(_BATCHES, apps):
        batch = Batch(
            row["batch_no"], row["n"], row["remaining"], row["settled"], {state: row[state] for state in STATES}
        )
        found.batches.setdefault(row["notification_id"].bytes, []).append(batch)
    async for row in connection.cursor(_ROWS, apps, prefetch=5000):
        pair = row["notification_id"].bytes + row["device_id"].bytes
        found.rows.setdefault(pair, []).append(
            Row(row["state"], row["code"], row["attempts"], row["batch_no"], row["at"])
        )
    async for row in connection.cursor(_ATTEMPTS, apps, prefetch=5000):
        pair = row["notification_id"].bytes + row["device_id"].bytes
        found.attempts.setdefault(pair, []).append(
            Attempt(row["batch_no"], row["epoch"], row["verdict"], row["code"], row["at"])
        )
    async for row in connection.cursor(_DEVICES, apps, prefetch=5000):
        found.devices[row["app_id"].bytes, row["external_id"]] = Device(row["device_id"].bytes, row["state"], row["at"])
    return found
