"""What the keeper sees of the ledger: overdue hints and unfinished runs of all apps, as ids, times and states."""

from collections.abc import Sequence

from tocsin.ledger.store import SQL
from tocsin.storage import Tx
from tocsin.terms.batches import Overdue, Unfinished
from tocsin.terms.handoffs import AcceptedHint, PlannedHint
from tocsin.terms.outcomes import Class, Status


class LedgerWatch:
    """Fulfils what the keeper asks of the ledger (`lanes.book.Watch`); `tx` is the keeper role's."""

    async def overdue(self, tx: Tx, limit: int) -> Sequence[Overdue]:
        """Batches and pages whose hint is due, lost or late; each is stamped, so that it is found once."""
        batches = await tx.fetch(SQL.watch_overdue_batches, limit)
        pages = await tx.fetch(SQL.watch_overdue_pages, limit)
        return [
            Overdue(PlannedHint(row["app_id"], row["notification_id"], row["batch_no"]), Class(row["class"]), row["n"])
            for row in batches
        ] + [
            Overdue(AcceptedHint(row["app_id"], row["notification_id"], row["plan_seq"]), Class(row["class"]), 1)
            for row in pages
        ]

    async def unfinished(self, tx: Tx, limit: int) -> Sequence[Unfinished]:
        """Runs to sweep (cancelling, or past their time) or to probe (nothing left unsettled)."""
        rows = await tx.fetch(SQL.watch_unfinished, limit)
        return [
            Unfinished(row["app_id"], row["notification_id"], Status(row["status"]), row["expired"]) for row in rows
        ]
