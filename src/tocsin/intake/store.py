"""The table of notifications: written once, read by the stages that come after.

Gives `Accepted` as it was; refuses a notification that is not there with LookupError.
"""

from datetime import datetime
from uuid import UUID

from tocsin.intake.request import recalled_options, stored_options
from tocsin.storage import Queries, Tx
from tocsin.terms.handoffs import Accepted, Target

SQL = Queries.beside(__file__)


async def now(tx: Tx) -> datetime:
    """The database's clock, which decides when a time to live is over: the instant the transaction began."""
    at: datetime = await tx.fetchval(SQL.now)
    return at


async def insert(tx: Tx, accepted: Accepted) -> None:
    """Write a notification."""
    target = {
        "all": accepted.target.all,
        "users": list(accepted.target.users),
        "devices": list(accepted.target.devices),
    }
    await tx.execute(
        SQL.insert_notification,
        accepted.app_id,
        accepted.notification_id,
        accepted.accepted_at,
        accepted.expires_at,
        target,
        stored_options(accepted.options),
    )


async def recall(tx: Tx, app_id: UUID, notification_id: UUID) -> Accepted:
    """The notification as it was accepted; raises LookupError."""
    row = await tx.fetchrow(SQL.find_notification, app_id, notification_id)
    if row is None:
        raise LookupError(f"notification {notification_id} is not there")
    target = row["target"]
    return Accepted(
        app_id,
        notification_id,
        Target(target["all"], tuple(target["users"]), tuple(target["devices"])),
        recalled_options(row["options"]),
        row["accepted_at"],
        row["expires_at"],
    )
