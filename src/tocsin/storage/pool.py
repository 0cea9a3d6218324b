"""Transactions in the scope of one app: what sees that app's rows and no others.

In: an app's id. Out: an open transaction. The scope is transaction-local and every transaction names all of it, so a
pooled connection carries nothing over. A database that is away is `Unavailable`; the pool mends itself when it is back.
"""

import asyncio
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Final, Self, TypeAlias, cast
from uuid import UUID

import asyncpg
import orjson

from tocsin.storage import faults
from tocsin.storage.faults import CommitUnknown, Unavailable
from tocsin.storage.listening import Line

if TYPE_CHECKING:
    Tx: TypeAlias = asyncpg.Connection[asyncpg.Record]
    _Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:
    Tx = asyncpg.Connection
    _Pool = asyncpg.Pool
"""An open transaction: `fetch`, `fetchrow`, `fetchval`, `execute` with $1-style arguments. jsonb is Python values."""

UniqueViolation = asyncpg.UniqueViolationError
LockTimeout = asyncpg.LockNotAvailableError

__all__ = ["CommitUnknown", "Database", "LockTimeout", "Tx", "Unavailable", "UniqueViolation"]

_KEY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CLOSE_WITHIN: Final = 15.0
"""Seconds: longer than a transaction may take."""


async def _prepare(connection: Tx) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: b"\x01" + orjson.dumps(value),
        decoder=lambda octets: orjson.loads(octets[1:]),
        format="binary",
    )


async def _nothing(_connection: object) -> None:
    # asyncpg would ask the server to forget the session, one round trip a transaction; the commit has done that
    return None


def _is_gone(connection: Tx) -> bool:
    """Whether the connection ended; the pool takes an ended one away from its holder, who then may ask nothing."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True


def _cut(connection: Tx) -> None:
    if not _is_gone(connection):
        connection.terminate()


def _session(version: int) -> dict[str, str]:
    """The settings of a session, given the server's major version: a server that hangs must not hang us."""
    settings = {
        "application_name": f"tocsin {os.getpid()}",  # so that an operator finds the process behind a session
        "timezone": "UTC",
        "lock_timeout": "1s",
        "idle_in_transaction_session_timeout": "10s",
        # a plan made while a table was empty is kept until the next ANALYZE: it must not read the first million rows
        "enable_seqscan": "off",
        "jit": "off",  # compiling costs more than any statement here, and is what a discouraged scan would set off
    }
    if version >= 17:  # the release that brought it; an older server refuses a connection that names it
        settings["transaction_timeout"] = "10s"
    return settings


class Database:
    """A pool of connections in one role."""

    def __init__(self, pool: _Pool, line: Line, *, patience: float) -> None:
        self._pool = pool
        self._line = line
        self._patience = patience

    @classmethod
    async def connect(cls, dsn: str, *, size: int = 10, patience: float = 5.0) -> Self:
        """Open a pool of up to `size` connections to `dsn`; a transaction waits `patience` seconds for one of them.

        Raises Unavailable if the database cannot be reached now.
        """
        line = Line(dsn, patience)
        try:
            version = await line.server_version()
            pool = await asyncpg.create_pool(
                dsn,
                min_size=1,
                max_size=size,
                timeout=patience,
                init=_prepare,
                reset=_nothing,
                statement_cache_size=256,
                max_cached_statement_lifetime=0,
                server_settings=_session(version),
            )
        except Exception as error:
            await line.close()
            if faults.is_refusal(error):
                raise Unavailable(f"the database cannot be reached: {error or type(error).__name__}") from error
            raise
        return cls(pool, line, patience=patience)

    async def close(self) -> None:
        """Close every connection, waiting for transactions to end; what takes longer than they may is cut off."""
        await self._line.close()
        try:
            async with asyncio.timeout(_CLOSE_WITHIN):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    def scope(self, app_id: UUID) -> AbstractAsyncContextManager[Tx]:
        """A transaction that sees the rows of one app: `async with database.scope(app_id) as tx`.

        It commits at the end of the block and rolls back on any exception. Raises Unavailable if the database is away.
        """
        return self._transaction(app=str(UUID(int=app_id.int)))

    def tenant_scope(self, tenant_id: UUID) -> AbstractAsyncContextManager[Tx]:
        """A transaction that sees one tenant's organisation tables; otherwise as `scope`."""
        return self._transaction(tenant=str(UUID(int=tenant_id.int)))

    def key_scope(self, key_id: str) -> AbstractAsyncContextManager[Tx]:
        """A transaction that sees one API key, before its tenant is known; otherwise as `scope`.

        Raises ValueError for what cannot be a key's id.
        """
        if not _KEY_ID.fullmatch(key_id):
            raise ValueError("a key's id is 1 to 64 letters, digits, _ or -")
        return self._transaction(key=key_id)

    def transaction(self) -> AbstractAsyncContextManager[Tx]:
        """A transaction without a scope, so that it sees machine tables only; otherwise as `scope`."""
        return self._transaction()

    def listen(self, channel: str) -> AsyncGenerator[str | None]:
        """What is said on `channel`, on a connection of its own that is made anew whenever it is lost.

        Gives each payload, and None at the start and after each reconnection: something may have been missed.
        """
        return self._line.listen(channel)

    async def notify(self, channel: str, payload: str) -> None:
        """Say `payload` on `channel`, outside any transaction. Raises Unavailable if the database is away."""
        await self._line.notify(channel, payload)

    @asynccontextmanager
    async def _transaction(self, *, app: str = "", tenant: str = "", key: str = "") -> AsyncIterator[Tx]:
        # one simple-protocol string, so that a scope costs one round trip; ids are checked, so nothing can be injected
        connection = await self._begin(
            f"begin; select set_config('tocsin.app', '{app}', true), "
            f"set_config('tocsin.tenant', '{tenant}', true), set_config('tocsin.key', '{key}', true)"
        )
        try:
            try:
                yield connection
            except BaseException as error:
                await self._roll_back(connection)
                if faults.is_away(error, closed=_is_gone(connection)):
                    raise Unavailable(f"the database went away: {error}") from error
                raise
            await self._commit(connection)
        finally:
            if not _is_gone(connection) and connection.is_in_transaction():
                _cut(connection)  # a commit or rollback was cut off: nobody knows what this session is in
            await self._release(connection)

    async def _begin(self, statement: str) -> Tx:
        """A connection with an open transaction; one that was ended while it lay idle is replaced."""
        try:
            async with asyncio.timeout(self._patience):
                while True:
                    connection = cast("Tx", await self._pool.acquire())
                    try:
                        await connection.execute(statement)
                    except BaseException as error:
                        gone = faults.is_away(error, closed=_is_gone(connection))
                        _cut(connection)
                        await self._release(connection)
                        if not gone:
                            raise
                    else:
                        return connection
        except Exception as error:
            if isinstance(error, TimeoutError):
                raise Unavailable(f"no connection to the database was free within {self._patience:g} s") from error
            if faults.is_refusal(error):
                raise Unavailable(f"the database cannot be reached: {error}") from error
            raise

    async def _release(self, connection: Tx) -> None:
        await self._pool.release(cast("asyncpg.pool.PoolConnectionProxy[asyncpg.Record]", connection))

    async def _commit(self, connection: Tx) -> None:
        try:
            # settings of the session are put back in the same message; in a transaction that failed and was not
            # rolled back `reset` raises, where a bare commit would roll back and say nothing
            await connection.execute("reset all; commit")
        except asyncio.CancelledError:
            _cut(connection)  # whoever cancelled does not learn whether it happened; the session must not go on
            raise
        except Exception as error:
            if faults.is_away(error, closed=_is_gone(connection)):
                raise CommitUnknown(f"the connection was lost in a commit, which may have happened: {error}") from error
            await self._roll_back(connection)
            raise

    async def _roll_back(self, connection: Tx) -> None:
        if _is_gone(connection):
            return
        try:
            await connection.execute("rollback")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            _cut(connection)  # the transaction ends with its session
