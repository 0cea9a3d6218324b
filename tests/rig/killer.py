"""Kills workers, and writes down before each kill what that worker had begun and not settled.

A worker is stopped first (SIGSTOP); once the server has nothing of its left to do, the batches it holds are read; then
it is killed (SIGKILL). So the figure is exact: nothing can be begun or settled between the reading and the end.
"""

import asyncio
import os
import signal
import time
from collections.abc import Sequence

import asyncpg
from tests.rig.log import ClientLog

_BUSY = """
select count(*) from pg_stat_activity
where application_name = $1 and backend_type = 'client backend' and state = 'active'
  and wait_event_type is distinct from 'Client'
"""
# a session that waits for the stopped worker to read or write goes no further before the kill
_BEGUN = """
select coalesce(sum(cardinality(device_ids)), 0)::int from ledger.batches
where begun_at is not null and settled_at is null and split_part(holder, ':', 2) = $1
"""


class Killer:
    """Kills processes of one platform; `dsn` reads every row."""

    def __init__(self, dsn: str, log: ClientLog) -> None:
        self._dsn, self._log = dsn, log
        self.begun: list[int] = []

    @property
    def hits(self) -> int:
        """How many kills met a worker that had begun something."""
        return sum(count > 0 for count in self.begun)

    async def kill(self, *pids: int) -> int:
        """Kill these workers; gives how many deliveries they had begun and not settled."""
        total = 0
        connection = await asyncpg.connect(self._dsn)
        try:
            for pid in pids:
                total += await self._kill(connection, pid)
        finally:
            await connection.close()
        return total

    async def _kill(self, connection: "asyncpg.Connection[asyncpg.Record]", pid: int) -> int:
        try:
            begun = await self._stop(connection, pid)
        finally:
            os.kill(pid, signal.SIGKILL)
        self._write(pid, begun)
        return begun

    async def freeze(self, *pids: int) -> int | None:
        """Stop the first of these workers that has begun something, and leave it; gives its id, None if none has."""
        connection = await asyncpg.connect(self._dsn)
        try:
            for pid in pids:
                begun = await self._stop(connection, pid)
                if begun:
                    self._write(pid, begun)
                    return pid
                os.kill(pid, signal.SIGCONT)
        finally:
            await connection.close()
        return None

    async def _stop(self, connection: "asyncpg.Connection[asyncpg.Record]", pid: int) -> int:
        os.kill(pid, signal.SIGSTOP)
        await self._until_idle(connection, pid)
        begun: int = await connection.fetchval(_BEGUN, str(pid))
        return begun

    def _write(self, pid: int, begun: int) -> None:
        self.begun.append(begun)
        self._log.write("kill", pid=pid, begun=begun)

    async def _until_idle(self, connection: "asyncpg.Connection[asyncpg.Record]", pid: int) -> None:
        """Wait until the server has done what the stopped worker asked for; raises TimeoutError after 5 s."""
        deadline, quiet = time.monotonic() + 5.0, 0
        while quiet < 2:
            busy = await connection.fetchval(_BUSY, f"tocsin {pid}")
            quiet = quiet + 1 if busy == 0 else 0
            if time.monotonic() > deadline:
                raise TimeoutError(f"{busy} sessions of the stopped worker {pid} do not come to rest")
            await asyncio.sleep(0.005)


async def count(dsn: str, query: str, arguments: Sequence[object] = ()) -> int:
    """One number from the database."""
    connection = await asyncpg.connect(dsn)
    try:
        number: int = await connection.fetchval(query, *arguments)
        return number
    finally:
        await connection.close()
