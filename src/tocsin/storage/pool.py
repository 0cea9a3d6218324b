"""Transactions in the scope of one app: what sees that app's rows and no others.

In: an app's id. Out: an open transaction. The scope is transaction-local, so a pooled connection carries nothing over.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self, TypeAlias, cast
from uuid import UUID

import asyncpg
import orjson

if TYPE_CHECKING:
    Tx: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Tx = asyncpg.Connection
"""An open transaction: `fetch`, `fetchrow`, `fetchval`, `execute` with $1-style arguments. jsonb is Python values."""

UniqueViolation = asyncpg.UniqueViolationError
LockTimeout = asyncpg.LockNotAvailableError


class Unavailable(Exception):
    """The database cannot be reached or has no connection to spare."""


async def _prepare(connection: Tx) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: b"\x01" + orjson.dumps(value),
        decoder=lambda octets: orjson.loads(octets[1:]),
        format="binary",
    )


class Database:
    """A pool of connections in one role."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @classmethod
    async def connect(cls, dsn: str, *, size: int = 10) -> Self:
        """Open a pool of up to `size` connections to `dsn`."""
        pool = await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=size,
            init=_prepare,
            server_settings={
                "application_name": "tocsin",
                "timezone": "UTC",
                "lock_timeout": "1s",
                "transaction_timeout": "10s",
                "idle_in_transaction_session_timeout": "10s",
            },
        )
        return cls(pool)

    async def close(self) -> None:
        """Close every connection, waiting for transactions to end."""
        await self._pool.close()

    def scope(self, app_id: UUID) -> "Any":
        """A transaction that sees the rows of one app: `async with database.scope(app_id) as tx`."""
        return self._transaction(f"select set_config('tocsin.app', '{app_id}', true)")

    def tenant_scope(self, tenant_id: UUID) -> "Any":
        """A transaction that sees one tenant's organisation tables."""
        return self._transaction(f"select set_config('tocsin.tenant', '{tenant_id}', true)")

    def transaction(self) -> "Any":
        """A transaction without a scope: machine tables only."""
        return self._transaction("")

    @asynccontextmanager
    async def _transaction(self, setting: str) -> AsyncIterator[Tx]:
        async with self._pool.acquire() as connection:
            # one simple-protocol string: a scope costs one round trip (ids are UUIDs, so nothing can be injected)
            await connection.execute(f"begin; {setting}")
            try:
                yield cast("Tx", connection)
            except BaseException:
                if not connection.is_closed():
                    await connection.execute("rollback")
                raise
            await connection.execute("commit")
