"""What the Book writes, statement by statement: batches, deliveries, attempts. Arrays in, nothing interpreted."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from tocsin.storage import Queries, Tx
from tocsin.terms.batches import Attempt, Begun, End, Retry
from tocsin.terms.handoffs import Ended

SQL = Queries.beside(__file__)


class Slice(NamedTuple):
    """A batch to be made of `device_ids`, due `delay` seconds from now."""

    credential_id: UUID
    provider: str
    device_ids: Sequence[UUID]
    delay: float


async def insert_batches(
    tx: Tx,
    app_id: UUID,
    notification_id: UUID,
    lane_class: str,
    slices: Sequence[Slice],
    *,
    tries: int = 0,
    planned_at: datetime | None = None,
) -> Sequence[Any]:
    """Make batches; rows of (batch_no, n, delay). `planned_at` is kept by retries, so that a new owner is noticed."""
    ids: list[UUID] = []
    starts: list[int] = []
    for one in slices:
        starts.append(len(ids) + 1)
        ids.extend(one.device_ids)
    return await tx.fetch(
        SQL.insert_batches,
        app_id,
        notification_id,
        lane_class,
        tries,
        ids,
        [one.credential_id for one in slices],
        [one.provider for one in slices],
        starts,
        [len(one.device_ids) for one in slices],
        planned_at,
        [one.delay for one in slices],
    )


async def insert_planned_ends(
    tx: Tx, app_id: UUID, notification_id: UUID, lane_class: str, ended: Sequence[Ended], codes: Mapping[str, int]
) -> None:
    """Deliveries that ended in planning, and the settled batch row that counts them."""
    suppressed = sum(1 for one in ended if one.state == "suppressed")
    batch_no = await tx.fetchval(
        SQL.insert_settled_batch,
        app_id,
        notification_id,
        lane_class,
        len(ended),
        suppressed,
        len(ended) - suppressed,
        codes,
    )
    await tx.execute(
        SQL.insert_planned_ends,
        app_id,
        notification_id,
        batch_no,
        [one.device_id for one in ended],
        [one.state for one in ended],
        [one.code for one in ended],
        [one.provider for one in ended],
    )


async def insert_ends(tx: Tx, begun: Begun, ends: Sequence[End], tries: int) -> None:
    """Terminal rows, in device order. Plain successes, nearly all there are, take the shorter statement."""
    ordered = sorted(ends, key=lambda end: end.device_id)
    key = (begun.app_id, begun.notification_id, begun.provider, tries, begun.batch_no)
    sent = [end for end in ordered if end.state == "sent"]
    other = [end for end in ordered if end.state != "sent"]
    if sent:
        await tx.execute(SQL.insert_sent, *key, [end.device_id for end in sent], [end.ref for end in sent])
    if other:
        await tx.execute(
            SQL.insert_deliveries,
            *key,
            [end.device_id for end in other],
            [end.state for end in other],
            [end.code for end in other],
            [end.ref for end in other],
            [end.detail for end in other],
        )


async def insert_attempts(tx: Tx, begun: Begun, tried: Sequence[tuple[UUID, Attempt, float | None]]) -> None:
    """Tries that were not plain successes: (device, attempt, delay of the next try in seconds or None)."""
    if not tried:
        return
    await tx.execute(
        SQL.insert_attempts,
        begun.app_id,
        begun.notification_id,
        begun.batch_no,
        begun.epoch,
        [device_id for device_id, _, _ in tried],
        [attempt.verdict for _, attempt, _ in tried],
        [attempt.code for _, attempt, _ in tried],
        [attempt.detail for _, attempt, _ in tried],
        [delay for _, _, delay in tried],
    )


def retry_slices(begun: Begun, retries: Sequence[Retry]) -> Sequence[tuple[int, list[Slice]]]:
    """Retries gathered into one batch per due time, and per count of tries: (tries, batches)."""
    groups: dict[tuple[int, float], list[UUID]] = {}
    for retry in retries:
        groups.setdefault((begun.tries + retry.spent, retry.delay), []).append(retry.device_id)
    by_tries: dict[int, list[Slice]] = {}
    for (tries, delay), ids in groups.items():
        by_tries.setdefault(tries, []).append(Slice(begun.credential_id, begun.provider, sorted(ids), delay))
    return list(by_tries.items())
