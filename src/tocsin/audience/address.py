"""The step of the room: whom a notification is for becomes pages of devices, in id order.

In: an accepted notification and where the last page ended. Out: a `Page`. A device appears once, however often it was
named; one that was registered after the notification was accepted does not appear at all.
"""

from typing import Final
from uuid import UUID

from tocsin.audience.store import SQL
from tocsin.storage import Tx
from tocsin.terms.handoffs import Accepted, Addressed, Page

_BEFORE_ALL: Final = UUID(int=0)


async def newest(tx: Tx, app_id: UUID) -> UUID | None:
    """The id of the app's newest device: the upper bound of what is accepted now. None if the app has no device."""
    found: UUID | None = await tx.fetchval(SQL.newest, app_id)
    return found


async def address(tx: Tx, accepted: Accepted, after: UUID | None, upper: UUID | None, limit: int) -> Page:
    """The next page of at most `limit` active devices of the target, after `after` and up to `upper`, in id order.

    The cursor of the page is None after the last one. `upper` None means that there was no device when the
    notification was accepted, so that the page is empty. Devices named one by one or by user stay locked against a
    change of owner until `tx` ends; so `planned_at` may be any instant of this transaction.
    """
    if upper is None:
        return Page([], None)
    target, after = accepted.target, after or _BEFORE_ALL
    if target.all:
        rows = await tx.fetch(SQL.address_all, accepted.app_id, after, upper, limit + 1)
    else:
        users, devices = list(target.users), list(target.devices)
        rows = await tx.fetch(SQL.address_named, accepted.app_id, after, upper, limit + 1, users, devices)
    devices_found = [Addressed(row[0], row[1]) for row in rows[:limit]]
    return Page(devices_found, devices_found[-1].device_id if len(rows) > limit else None)
