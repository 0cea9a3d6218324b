"""What sending learned comes back here: dead tokens retire their devices.

In: the ids, token versions and instants of a `returns` hint. Out: how many devices were retired. A device that has been
registered anew since has another version and stays; so does one whose token was set after the provider's instant.
A hint that comes twice, late or never does no harm.
"""

from tocsin.audience.store import SQL
from tocsin.storage import Tx
from tocsin.terms.handoffs import ReturnsHint


async def forget(tx: Tx, hint: ReturnsHint) -> int:
    """Mark the active devices of the hint whose token version is still the one that died; gives their number."""
    if not hint.dead:
        return 0
    device_ids, versions, dead_at = zip(*hint.dead, strict=True)
    return len(await tx.fetch(SQL.forget, hint.app_id, list(device_ids), list(versions), list(dead_at)))
