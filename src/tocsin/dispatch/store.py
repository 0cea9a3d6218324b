"""The rows of the circuit breakers: one stands while a credential is refused."""

from typing import NamedTuple
from uuid import UUID

from tocsin.storage import Queries, Tx

SQL = Queries.beside(__file__)


class Breaker(NamedTuple):
    """An open breaker: failures in a row, and seconds until it may be probed (negative: it may)."""

    failures: int
    wait: float


class Breakers:
    """Reads and moves breakers, in a transaction of the app."""

    async def read(self, tx: Tx, app_id: UUID, credential_id: UUID) -> Breaker | None:
        """The credential's breaker; None while it is closed."""
        row = await tx.fetchrow(SQL.breaker, app_id, credential_id)
        return None if row is None else Breaker(row["failures"], row["wait"])

    async def take_probe(self, tx: Tx, app_id: UUID, credential_id: UUID) -> bool:
        """Become the one that probes; False if somebody else is."""
        return bool(await tx.execute(SQL.take_probe, app_id, credential_id) == "UPDATE 1")

    async def open(self, tx: Tx, app_id: UUID, credential_id: UUID, reason: str, delay: float) -> None:
        """Open it, or keep it open, until `delay` seconds from now."""
        await tx.execute(SQL.open_breaker, app_id, credential_id, reason[:500], delay)

    async def close(self, tx: Tx, app_id: UUID, credential_id: UUID) -> None:
        """The credential works."""
        await tx.execute(SQL.close_breaker, app_id, credential_id)
