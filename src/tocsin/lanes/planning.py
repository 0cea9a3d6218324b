"""Stage `accepted`, inside one transaction: a page of the audience becomes batches, and the next page a hint.

In: "plan page 3 of this notification". Out: batches with their hints. A page that is
planned already is left alone.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

from tocsin.lanes.book import Book
from tocsin.lanes.lane import Claimed, Lane, Name, Parked
from tocsin.lanes.waking import Waker
from tocsin.storage import Database
from tocsin.terms.handoffs import PAGE_SIZE, Accepted, AcceptedHint, Page, Plan, PlannedHint

_HOPELESS: Final = 10
"""Receives after which a run that has planned nothing is failed."""

Recall = Callable[[Any, UUID, UUID], Awaitable[Accepted]]
Address = Callable[[Any, Accepted, UUID | None, UUID | None, int], Awaitable[Page]]
PlanStep = Callable[[Any, Accepted, Page], Awaitable[Plan]]


class Planning:
    """Plans one page per hint."""

    def __init__(
        self,
        *,
        database: Database,
        book: Book,
        accepted: Lane,
        planned: Lane,
        waker: Waker,
        recall: Recall,
        address: Address,
        plan: PlanStep,
        page_size: int = PAGE_SIZE,
    ) -> None:
        self._database = database
        self._book = book
        self._accepted = accepted
        self._planned = planned
        self._waker = waker
        self._recall = recall
        self._address = address
        self._plan = plan
        self._page_size = page_size

    async def __call__(self, claimed: Claimed) -> None:
        """Plan the page the hint names; after the last, probe: an empty audience completes here."""
        hint = claimed.hint
        assert isinstance(hint, AcceptedHint)
        if claimed.receives > _HOPELESS and await self._fail(claimed, hint):
            return
        async with self._database.scope(hint.app_id) as tx:
            opened = await self._book.open_page(tx, hint)
            if opened is None:
                await self._accepted.ack(tx, [claimed])
                return
            accepted = await self._recall(tx, hint.app_id, hint.notification_id)
            page = await self._address(tx, accepted, opened.cursor, opened.upper, self._page_size)
            plan = await self._plan(tx, accepted, page)
            waiting = await self._book.write_page(tx, hint, plan.drafts, plan.ended, page.cursor)
            await self._planned.put(
                tx,
                [
                    Parked(
                        PlannedHint(hint.app_id, hint.notification_id, batch.batch_no),
                        opened.lane_class,
                        batch.n,
                        batch.delay,
                    )
                    for batch in waiting
                ],
            )
            if page.cursor is not None:
                following = AcceptedHint(hint.app_id, hint.notification_id, hint.plan_seq + 1)
                await self._accepted.put(tx, [Parked(following, opened.lane_class, len(page.devices))])
            await self._accepted.ack(tx, [claimed])
        self._waker.wake(Name.PLANNED, Name.ACCEPTED)
        if page.cursor is None:
            async with self._database.scope(hint.app_id) as tx:
                await self._book.probe(tx, hint.app_id, hint.notification_id)

    async def _fail(self, claimed: Claimed, hint: AcceptedHint) -> bool:
        async with self._database.scope(hint.app_id) as tx:
            failed = await self._book.give_up_planning(tx, hint)
            if failed:
                await self._accepted.ack(tx, [claimed])
        return failed
