"""Read again just before sending: which devices of a batch may still get it, and where they are now.

In: the ids of a batch and when it was planned. Out: who is reached and who is not, each with the reason.
A device that has another owner or token than when it was planned is never reached.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from tocsin.audience.store import SQL
from tocsin.storage import Tx
from tocsin.terms.handoffs import Reached, Unreached


async def reach(
    tx: Tx, app_id: UUID, device_ids: Sequence[UUID], planned_at: datetime
) -> tuple[list[Reached], list[Unreached]]:
    """Sort a batch into those to send to and those not, both in the order of `device_ids`, in one query.

    Not reached, by code: `device_deleted` it is gone; `dead_token` the provider retired its token; `moved` its owner
    or token changed after `planned_at`, it was logged out, or another device took its token.
    """
    rows = await tx.fetch(SQL.reach, app_id, list(device_ids), planned_at)
    found = {row[0]: row for row in rows}
    reached: list[Reached] = []
    unreached: list[Unreached] = []
    for device_id in device_ids:
        row = found.get(device_id)
        if row is None:
            unreached.append(Unreached(device_id, "device_deleted"))
        elif row["state"] == "active" and row["still_bound"]:
            reached.append(Reached(device_id, row["token"], row["token_version"], row["keys"]))
        else:
            dead = row["state"] == "dead" and row["still_bound"]
            unreached.append(Unreached(device_id, "dead_token" if dead else "moved"))
    return reached, unreached
