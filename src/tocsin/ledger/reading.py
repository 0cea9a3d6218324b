"""What callers read of the ledger: progress, lists and single deliveries, as the API shows them.

In: an app's open transaction. Out: members of answers. Refuses what is not there with `Refused` (not_found).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from tocsin.ledger import story
from tocsin.storage import Queries, Tx
from tocsin.terms import ids
from tocsin.terms.errors import Refused
from tocsin.terms.outcomes import State
from tocsin.web.answers import instant

SQL: Final = Queries.beside(__file__, "reading.sql")
PENDING: Final = "pending"


def shown_run(row: Mapping[str, Any]) -> dict[str, Any]:
    """A notification with its progress: the ends sum up to `targeted` once it has ended, `pending` is the rest."""
    counts = {state.value: int((row["counts"] or {}).get(state.value) or 0) for state in State}
    targeted = row["targeted"]
    return {
        "id": ids.show(ids.NOTIFICATION, row["notification_id"]),
        "status": row["status"],
        "class": row["class"],
        "accepted_at": instant(row["accepted_at"]),
        "expires_at": instant(row["expires_at"]),
        "planned": row["planned"],
        "progress": {"targeted": targeted, "pending": max(0, targeted - sum(counts.values())), **counts},
    }


async def run(tx: Tx, app_id: UUID, notification_id: UUID) -> dict[str, Any]:
    """One notification; raises Refused (not_found)."""
    row = await _one(tx, SQL.find_run, app_id, notification_id)
    if row is None:
        raise absent("notification")
    return shown_run(row)


async def runs(tx: Tx, app_id: UUID, status: str | None, before: UUID | None, most: int) -> Sequence[dict[str, Any]]:
    """Notifications, newest first, from the one before `before`."""
    return [shown_run(row) for row in await _all(tx, SQL.list_runs, app_id, status, before, most)]


async def deliveries(
    tx: Tx, app_id: UUID, notification_id: UUID, *, state: str | None, code: str | None, after: UUID | None, most: int
) -> Sequence[Mapping[str, Any]]:
    """Rows of deliveries by device: those that ended, or with `state` pending those that have not.

    Raises Refused (not_found) if there is no such notification.
    """
    if not await tx.fetchval(SQL.run_exists, app_id, notification_id):
        raise absent("notification")
    if state == PENDING:
        return await _all(tx, SQL.list_pending, app_id, notification_id, after, most) if code is None else []
    return await _all(tx, SQL.list_ended, app_id, notification_id, state, code, after, most)


async def of_device(
    tx: Tx, app_id: UUID, device_id: UUID, before: UUID | None, most: int
) -> Sequence[Mapping[str, Any]]:
    """Rows of the deliveries to one device that have ended, newest first, from the one before `before`."""
    return await _all(tx, SQL.list_of_device, app_id, device_id, before, most)


def shown_delivery(notification_id: UUID, row: Mapping[str, Any], device: str | None) -> dict[str, Any]:
    """A delivery in a list; `device` is the caller's own id of the device, None once that was deleted."""
    return {
        "id": ids.show_delivery(notification_id, row["device_id"]),
        "device_id": ids.show(ids.DEVICE, row["device_id"]),
        "device": device,
        "state": row["state"],
        "code": row["code"],
        "provider": row["provider"],
        "attempts": row["attempts"],
        "settled_at": instant(row["settled_at"]) if row["settled_at"] else None,
    }


async def facts(tx: Tx, app_id: UUID, notification_id: UUID, device_id: UUID) -> story.Facts:
    """All that is known of one delivery; raises Refused (not_found)."""
    here = (app_id, notification_id, device_id)
    # the open batch first: what ends between the two statements is then found by the second
    pending = await _one(tx, SQL.find_pending, *here)
    end = await _one(tx, SQL.find_delivery, *here)
    run_row = await _one(tx, SQL.find_run, app_id, notification_id)
    last = end or pending
    if last is None or run_row is None:
        raise absent("delivery")
    attempts = await _all(tx, SQL.list_attempts, *here)
    numbers = [last["batch_no"], *(each["batch_no"] for each in attempts)]
    batch = await _one(tx, SQL.first_batch, app_id, notification_id, numbers)
    assert batch is not None, "a delivery names the batch it ended in"
    return story.Facts(run_row, batch, pending, end, attempts, await _all(tx, SQL.list_receipts, *here))


def shown_story(notification_id: UUID, device_id: UUID, known: story.Facts, device: str | None) -> dict[str, Any]:
    """A delivery with its attempts, its receipts and its story."""
    row = known.end or {
        **(known.pending or {}),
        "state": PENDING,
        "code": None,
        "attempts": (known.pending or {})["tries"],
        "settled_at": None,
        "provider_ref": None,
        "detail": None,
    }
    return {
        **shown_delivery(notification_id, {**row, "device_id": device_id}, device),
        "notification_id": ids.show(ids.NOTIFICATION, notification_id),
        "gloss": story.gloss(row["code"]) if row["code"] else "It has not ended yet.",
        "provider_ref": row["provider_ref"],
        "detail": row["detail"],
        "attempt_log": [
            {
                "at": instant(each["at"]),
                "verdict": each["verdict"],
                "code": each["code"],
                "detail": each["detail"],
                "retry_at": instant(each["due_at"]) if each["due_at"] else None,
            }
            for each in known.attempts
        ],
        "receipts": [{"kind": each["kind"], "at": instant(each["at"])} for each in known.receipts],
        "story": [{"at": instant(at), "event": event, "text": text} for at, event, text in story.tell(known)],
    }


async def keep_receipt(tx: Tx, app_id: UUID, notification_id: UUID, device_id: UUID, kind: str) -> None:
    """Keep what a device reported, once per kind; raises Refused (not_found) if the notification is gone."""
    if not await tx.fetchval(SQL.insert_receipt, app_id, notification_id, device_id, kind):
        raise absent("notification")


def absent(what: str) -> Refused:
    """The refusal for something that is not there, or is another app's."""
    return Refused("not_found", f"There is no {what} with this id in your app.")


async def _one(tx: Tx, statement: str, *values: Any) -> dict[str, Any] | None:
    row = await tx.fetchrow(statement, *values)
    return dict(row) if row else None


async def _all(tx: Tx, statement: str, *values: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in await tx.fetch(statement, *values)]
