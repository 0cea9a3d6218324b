"""The Book on PostgreSQL: runs, batches, deliveries and attempts, and every move between them.

In: what the runner learned, inside its transaction. Out: which batches wait. The batch row is the truth, guarded by
its epoch: whoever comes with an old one is fenced. Terminal rows are inserted once; a second is a defect and surfaces.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from tocsin.ledger import store
from tocsin.ledger.store import SQL, Slice
from tocsin.storage import Tx
from tocsin.terms.batches import (
    Attempt,
    Begun,
    End,
    Fenced,
    NotBegun,
    Opened,
    Retry,
    Settlement,
    Waiting,
    Why,
)
from tocsin.terms.handoffs import Accepted, AcceptedHint, Draft, Ended, PlannedHint
from tocsin.terms.outcomes import Class, OnAmbiguity, State, Status

# which statuses a caller may move a run from
_MOVES: Final = {
    Status.CANCELLING: (Status.ACCEPTED, Status.SCHEDULED, Status.RUNNING, Status.PAUSED),
    Status.PAUSED: (Status.ACCEPTED, Status.SCHEDULED, Status.RUNNING),
    Status.RUNNING: (Status.PAUSED,),
}


def _waiting(rows: Sequence[Any]) -> list[Waiting]:
    return [Waiting(row["batch_no"], row["n"], row["delay"]) for row in rows]


class LedgerBook:
    """Fulfils what the lanes ask of the ledger (`lanes.book.Book`)."""

    async def open(self, tx: Tx, accepted: Accepted, upper: UUID | None) -> None:
        """Open the run of a notification just accepted; `upper` is the newest device it may reach."""
        await tx.execute(
            SQL.open_run,
            accepted.app_id,
            accepted.notification_id,
            accepted.options.lane_class,
            accepted.options.on_ambiguity,
            accepted.accepted_at,
            accepted.expires_at,
            upper,
        )

    # -------------------------------------------------------------- planning

    async def open_page(self, tx: Tx, hint: AcceptedHint) -> Opened | None:
        """Lock the run for planning this page; None if the page is planned already, or planning is over."""
        run = await tx.fetchrow(SQL.lock_run, hint.app_id, hint.notification_id)
        if run is None or run["planned"] or run["plan_seq"] != hint.plan_seq:
            return None
        if run["status"] not in (Status.ACCEPTED, Status.RUNNING):
            return None
        return Opened(Status(run["status"]), run["plan_cursor"], run["plan_upper"], Class(run["class"]))

    async def write_page(
        self, tx: Tx, hint: AcceptedHint, drafts: Sequence[Draft], ended: Sequence[Ended], cursor: UUID | None
    ) -> Sequence[Waiting]:
        """Write the page's batches and ended deliveries; a `cursor` of None says that it was the last page."""
        key = (hint.app_id, hint.notification_id)
        run = await tx.fetchrow(SQL.lock_run, *key)
        assert run is not None, "write_page follows open_page in one transaction"
        waiting: list[Waiting] = []
        if drafts:
            slices = [Slice(one.credential_id, one.provider, one.device_ids, one.delay) for one in drafts]
            waiting = _waiting(await store.insert_batches(tx, *key, run["class"], slices))
        if ended:
            codes = Counter(one.code for one in ended)
            await store.insert_planned_ends(tx, *key, run["class"], ended, codes)
        targeted = sum(len(one.device_ids) for one in drafts) + len(ended)
        await tx.execute(SQL.page_planned, *key, cursor, cursor is None, targeted)
        return waiting

    async def give_up_planning(self, tx: Tx, hint: AcceptedHint) -> bool:
        """Nothing could be planned: the run is `failed`, if it has no target yet."""
        return bool((await tx.execute(SQL.fail_run, hint.app_id, hint.notification_id)) == "UPDATE 1")

    async def planning(self, tx: Tx, app_id: UUID, notification_id: UUID) -> AcceptedHint | None:
        """The hint for the next page, if planning is not over."""
        plan_seq = await tx.fetchval(SQL.planning_hint, app_id, notification_id)
        return None if plan_seq is None else AcceptedHint(app_id, notification_id, plan_seq)

    # -------------------------------------------------------------- sending

    async def begin(self, tx: Tx, hint: PlannedHint, holder: str) -> Begun | NotBegun:
        """Take the batch under a new epoch. A suspect's devices get their ambiguous attempts here, before any copy."""
        row = await tx.fetchrow(SQL.begin_batch, hint.app_id, hint.notification_id, hint.batch_no, holder)
        if row is None or (row["epoch"] is None and row["over"]):
            return NotBegun(Why.OVER)
        if row["epoch"] is None:
            return NotBegun(Why.LATER, max(0.0, row["wait"] or 0.0))
        begun = Begun(
            hint.app_id,
            hint.notification_id,
            hint.batch_no,
            Class(row["class"]),
            row["epoch"],
            row["tries"],
            row["deaths"],
            row["device_ids"],
            row["credential_id"],
            row["provider"],
            row["planned_at"],
            OnAmbiguity(row["on_ambiguity"]),
            row["ttl_left"],
            row["suspect"],
        )
        if begun.suspect:
            await tx.execute(
                SQL.insert_lost_attempts,
                begun.app_id,
                begun.notification_id,
                begun.batch_no,
                begun.epoch - 1,
                begun.device_ids,
            )
        return begun

    async def settle(self, tx: Tx, begun: Begun, settlement: Settlement) -> Sequence[Waiting]:
        """Write ends, attempts and retry batches; raises Fenced if the batch is no longer held under this epoch."""
        ends = [fate for fate in settlement.fates if isinstance(fate, End)]
        retries = [fate for fate in settlement.fates if isinstance(fate, Retry)]
        if retries:
            turned, retries = await self._judge_retries(tx, begun, retries)
            ends += turned
        tried: list[tuple[UUID, Attempt, float | None]] = [
            (end.device_id, end.attempt, None) for end in ends if end.attempt
        ]
        tried += [(retry.device_id, retry.attempt, retry.delay) for retry in retries]
        await self._mark(tx, begun, ends, settlement.left)
        await store.insert_ends(tx, begun, ends, begun.tries + 1)
        await store.insert_attempts(tx, begun, tried)
        waiting: list[Waiting] = []
        for tries, slices in store.retry_slices(begun, retries):
            rows = await store.insert_batches(
                tx,
                begun.app_id,
                begun.notification_id,
                begun.lane_class,
                slices,
                tries=tries,
                planned_at=begun.planned_at,
            )
            waiting += _waiting(rows)
        return waiting

    async def settled(self, tx: Tx, begun: Begun, left: int) -> bool:
        """Whether a settle that left so many devices was committed, where the answer to its commit was lost."""
        now_left = await tx.fetchval(SQL.batch_left, begun.app_id, begun.notification_id, begun.batch_no, begun.epoch)
        return bool(now_left == left)

    async def _judge_retries(self, tx: Tx, begun: Begun, retries: Sequence[Retry]) -> tuple[list[End], list[Retry]]:
        """A run that is being cancelled, or a time to live that ends first, turns retries into ends."""
        run = await tx.fetchrow(SQL.run_fate, begun.app_id, begun.notification_id)
        assert run is not None, "a batch has a run"
        ends, still = [], []
        for retry in retries:
            if run["status"] == Status.CANCELLING:
                ends.append(End(retry.device_id, State.CANCELLED, "cancelled", attempt=retry.attempt))
            elif retry.delay >= run["ttl_left"]:
                ends.append(End(retry.device_id, State.EXPIRED, "ttl_passed", attempt=retry.attempt))
            else:
                still.append(retry)
        return ends, still

    async def _mark(self, tx: Tx, begun: Begun, ends: Sequence[End], left: Sequence[UUID]) -> None:
        states = Counter(end.state for end in ends)
        codes = Counter(end.code for end in ends if end.state != State.SENT)
        done = await tx.execute(
            SQL.settle_batch,
            begun.app_id,
            begun.notification_id,
            begun.batch_no,
            begun.epoch,
            list(left) or None,
            *(states[state] for state in State),
            dict(codes) or None,
        )
        if done != "UPDATE 1":
            raise Fenced(begun.batch_no)

    async def end_all(self, tx: Tx, begun: Begun, state: State, code: str) -> None:
        """Settle every device left in the batch alike; raises Fenced."""
        ends = [End(device_id, state, code) for device_id in begun.device_ids]
        await self._mark(tx, begun, ends, ())
        await store.insert_ends(tx, begun, ends, begun.tries + begun.suspect)

    async def split(self, tx: Tx, begun: Begun) -> Sequence[Waiting]:
        """Settle the batch into two halves; raises Fenced."""
        await self._mark(tx, begun, (), ())
        middle = len(begun.device_ids) // 2
        halves = [
            Slice(begun.credential_id, begun.provider, part, 0.0)
            for part in (begun.device_ids[:middle], begun.device_ids[middle:])
        ]
        rows = await store.insert_batches(
            tx,
            begun.app_id,
            begun.notification_id,
            begun.lane_class,
            halves,
            tries=begun.tries,
            planned_at=begun.planned_at,
        )
        return _waiting(rows)

    async def give_back(self, tx: Tx, begun: Begun, *, delay: float) -> None:
        """Nothing was written: free the batch, due after `delay` seconds; raises Fenced."""
        done = await tx.execute(SQL.free_batch, begun.app_id, begun.notification_id, begun.batch_no, begun.epoch, delay)
        if done != "UPDATE 1":
            raise Fenced(begun.batch_no)

    # -------------------------------------------------------------- the run

    async def probe(self, tx: Tx, app_id: UUID, notification_id: UUID) -> Status | None:
        """End the run if nothing of it is left, in a transaction of its own; its new status if it ended now."""
        status = await tx.fetchval(SQL.probe_run, app_id, notification_id)
        return None if status is None else Status(status)

    async def change(self, tx: Tx, app_id: UUID, notification_id: UUID, to: Status) -> Status | None:
        """Move the run to `to` where its status allows it; the status it had, None if there is no such run."""
        status = await tx.fetchval(SQL.change_status, app_id, notification_id, to, list(_MOVES[to]))
        return None if status is None else Status(status)

    def may_move(self, was: Status, to: Status) -> bool:
        """Whether a run may go from one status to the other by a caller's wish."""
        return was in _MOVES[to]

    async def unsettled(self, tx: Tx, app_id: UUID, notification_id: UUID) -> Sequence[Waiting]:
        """The batches that still wait, for the hints a resumed run needs."""
        return _waiting(await tx.fetch(SQL.unsettled_batches, app_id, notification_id))

    async def sweep(self, tx: Tx, app_id: UUID, notification_id: UUID, state: State, code: str) -> int:
        """End up to 20 batches that nobody holds, set-based; how many batches it ended."""
        return int(await tx.fetchval(SQL.sweep_batches, app_id, notification_id, state, code))
