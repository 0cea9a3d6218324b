"""What other rooms may ask about devices by name, without seeing a row: do they exist, what are they called."""

from collections.abc import Collection
from uuid import UUID

from tocsin.audience.store import SQL
from tocsin.storage import Tx


async def unknown(tx: Tx, app_id: UUID, external_ids: Collection[str]) -> set[str]:
    """Those of these external ids that no device of the app has; one query."""
    if not external_ids:
        return set()
    rows = await tx.fetch(SQL.known, app_id, list(external_ids))
    return set(external_ids) - {row[0] for row in rows}


async def locate(tx: Tx, app_id: UUID, external_id: str) -> UUID | None:
    """Our id of the device that the caller calls so, whatever its state; None if there is none."""
    found: UUID | None = await tx.fetchval(SQL.locate, app_id, external_id)
    return found


async def names(tx: Tx, app_id: UUID, device_ids: Collection[UUID]) -> dict[UUID, str]:
    """The external id of each of these devices; those that were deleted are left out. One query."""
    if not device_ids:
        return {}
    rows = await tx.fetch(SQL.names, app_id, list(device_ids))
    return {row[0]: row[1] for row in rows}
