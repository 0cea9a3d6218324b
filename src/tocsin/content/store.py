"""The message of a notification: written once when it is accepted, read by whoever sends it."""

from dataclasses import asdict
from uuid import UUID

from tocsin.storage import Queries, Tx
from tocsin.terms.handoffs import Message

SQL = Queries.beside(__file__)


async def keep(tx: Tx, app_id: UUID, notification_id: UUID, message: Message) -> None:
    """Store the message of a notification just accepted."""
    present = {name: value for name, value in asdict(message).items() if value}
    await tx.execute(SQL.keep, app_id, notification_id, present)


async def recall(tx: Tx, app_id: UUID, notification_id: UUID) -> Message:
    """The message of a notification; LookupError if it has none."""
    present = await tx.fetchval(SQL.recall, app_id, notification_id)
    if present is None:
        raise LookupError(notification_id)
    return Message(**present)
