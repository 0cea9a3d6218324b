"""Cancel, pause, resume: a caller's wish becomes a status, and from that commit on no batch begins against it.

No lane is ever searched: hints of a cancelled run find nothing to begin.
"""

import asyncio
from typing import Any, Final
from uuid import UUID

from tocsin.lanes.book import Book
from tocsin.lanes.lane import Lane, Name, Parked
from tocsin.lanes.waking import Waker
from tocsin.storage import Database
from tocsin.terms.errors import Refused
from tocsin.terms.handoffs import PlannedHint
from tocsin.terms.outcomes import Class, State, Status

_WORDS: Final = {Status.CANCELLING: "cancelled", Status.PAUSED: "paused", Status.RUNNING: "resumed"}


class Control:
    """The three wishes. Each answers the run's new status; LookupError if the app has no such notification."""

    def __init__(self, *, database: Database, book: Book, accepted: Lane, planned: Lane, waker: Waker) -> None:
        self._database = database
        self._book = book
        self._accepted = accepted
        self._planned = planned
        self._waker = waker
        self._finishing: set[asyncio.Task[None]] = set()

    async def cancel(self, app_id: UUID, notification_id: UUID) -> Status:
        """Stop it: what is on the wire ends, nothing else begins. Finished here, or by the keeper if we die."""
        status = await self._change(app_id, notification_id, Status.CANCELLING)
        if status is Status.CANCELLING:
            task = asyncio.create_task(self.finish(app_id, notification_id))
            self._finishing.add(task)
            task.add_done_callback(self._finishing.discard)
        return status

    async def pause(self, app_id: UUID, notification_id: UUID) -> Status:
        """Begin no further batch until it is resumed."""
        return await self._change(app_id, notification_id, Status.PAUSED)

    async def resume(self, app_id: UUID, notification_id: UUID) -> Status:
        """Go on: hints for all that waits are put again."""
        status = await self._change(app_id, notification_id, Status.RUNNING)
        self._waker.wake(Name.ACCEPTED, Name.PLANNED)
        return status

    async def _change(self, app_id: UUID, notification_id: UUID, to: Status) -> Status:
        async with self._database.scope(app_id) as tx:
            was = await self._book.change(tx, app_id, notification_id, to)
            if was is None:
                raise LookupError(notification_id)
            if was is to or (to is Status.CANCELLING and was is Status.CANCELLED):
                return was  # said twice, meant once
            if not self._book.may_move(was, to):
                raise Refused("wrong_state", f"The notification is {was} and cannot be {_WORDS[to]}.")
            if to is Status.RUNNING:
                await self._hint(tx, app_id, notification_id)
        return to

    async def _hint(self, tx: Any, app_id: UUID, notification_id: UUID) -> None:
        page = await self._book.planning(tx, app_id, notification_id)
        if page is not None:
            await self._accepted.put(tx, [Parked(page, Class.NOW)])
        await self._planned.put(
            tx,
            [
                Parked(PlannedHint(app_id, notification_id, batch.batch_no), Class.BULK, batch.n, batch.delay)
                for batch in await self._book.unsettled(tx, app_id, notification_id)
            ],
        )

    async def finish(
        self, app_id: UUID, notification_id: UUID, state: State = State.CANCELLED, code: str = "cancelled"
    ) -> None:
        """End all that nobody holds, 20 batches a transaction, then probe."""
        swept = 1
        while swept:
            async with self._database.scope(app_id) as tx:
                swept = await self._book.sweep(tx, app_id, notification_id, state, code)
        await self.probe(app_id, notification_id)

    async def probe(self, app_id: UUID, notification_id: UUID) -> None:
        """Close the run if nothing of it is left."""
        async with self._database.scope(app_id) as tx:
            await self._book.probe(tx, app_id, notification_id)
