"""Stage `planned`, outside any transaction: begin (committed) → render and send → settle (committed) → probe.

In: "look at this batch". Out: an end or a retry for each of its devices. No connection is held while bytes are on the
wire. What a dead worker had begun is recorded as ambiguous before any second copy can leave.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

import structlog

from tocsin.lanes.book import Book
from tocsin.lanes.lane import LONGEST_DELAY, Claimed, Lane, Name, Parked
from tocsin.lanes.waking import Waker
from tocsin.storage import CommitUnknown, Database, LockTimeout, Unavailable
from tocsin.terms.batches import Answers, Begun, End, Fate, Fenced, Hold, NotBegun, Retry, Settlement, Waiting, Why
from tocsin.terms.clock import Clock
from tocsin.terms.handoffs import Learned, PlannedHint, Reached, ReturnsHint, Stopped, Unreached
from tocsin.terms.outcomes import OnAmbiguity, State

_log = structlog.get_logger(__name__)

VISIBILITY: Final = 40.0
"""Seconds a hint stays with its worker: longer than the lease of the batch it names."""
_LEASE: Final = 30.0
_STALE: Final = 5.0
"""A batch that is not on its way so many seconds after its begin is given back: its answers might outlive the lease."""
_MOST_DEATHS: Final = 3
_RETURNS_IN_A_HINT: Final = 100

Ready = TypeVar("Ready")


@dataclass(frozen=True, slots=True)
class Steps(Generic[Ready]):
    """What the rooms do for a batch. `Ready` is what sending needs besides the devices, whatever that is.

    `reach` and `prepare` run inside begin's transaction, `note` inside settle's; `send` with no connection held.
    """

    reach: Callable[[Any, UUID, Sequence[UUID], Any], Awaitable[tuple[Sequence[Reached], Sequence[Unreached]]]]
    prepare: Callable[[Any, Begun], Awaitable[Ready | Hold | Stopped]]
    send: Callable[[Ready, Begun, Sequence[Reached]], AsyncIterator[Answers]]
    note: Callable[[Any, Ready, Sequence[Fate]], Awaitable[None]]


class Sending(Generic[Ready]):
    """Sends one batch per hint. `holder` names this process on the batches it has begun."""

    def __init__(
        self,
        *,
        database: Database,
        book: Book,
        planned: Lane,
        returns: Lane,
        waker: Waker,
        steps: Steps[Ready],
        clock: Clock,
        holder: str,
    ) -> None:
        self._database = database
        self._book = book
        self._planned = planned
        self._returns = returns
        self._waker = waker
        self._steps = steps
        self._clock = clock
        self._holder = holder

    async def __call__(self, claimed: Claimed) -> None:
        """Carry the batch that the hint names through."""
        hint = claimed.hint
        assert isinstance(hint, PlannedHint)
        started = self._clock.monotonic()
        async with self._database.scope(hint.app_id) as tx:
            begun = await self._book.begin(tx, hint, self._holder)
            letter = await self._open(tx, claimed, begun)
        if isinstance(begun, NotBegun):
            if begun.why is Why.LATER:
                await self._planned.release([claimed], begun.delay)
            return
        if letter is None:
            await self._probe(begun)
            return
        ready, reached, unreached = letter
        ends: list[Fate] = [End(one.device_id, State.SUPPRESSED, one.code) for one in unreached]
        try:
            if not reached:
                await self._settle(claimed, begun, ready, Answers(ends), (), started)
            elif self._clock.monotonic() - started > _STALE:
                await self._give_back(claimed, begun, 0.0)
            else:
                await self._send(claimed, begun, ready, reached, ends, started)
        except Fenced:
            _log.warning("batch.fenced", batch=begun.batch_no, epoch=begun.epoch)

    # -------------------------------------------------------------- begin

    async def _open(
        self, tx: Any, claimed: Claimed, begun: Begun | NotBegun
    ) -> tuple[Ready, Sequence[Reached], Sequence[Unreached]] | None:
        """What to send; None if nothing is to be sent and the hint has been dealt with."""
        if isinstance(begun, NotBegun):
            if begun.why is Why.OVER:
                await self._planned.ack(tx, [claimed])
            return None
        if begun.suspect and begun.on_ambiguity is OnAmbiguity.DROP:
            await self._book.end_all(tx, begun, State.FAILED, "unknown_outcome")
        elif begun.ttl_left <= 0:
            await self._book.end_all(tx, begun, State.EXPIRED, "ttl_passed")
        elif begun.deaths > _MOST_DEATHS and len(begun.device_ids) == 1:
            await self._book.end_all(tx, begun, State.FAILED, "poison")
        elif begun.deaths > _MOST_DEATHS:
            await self._put(tx, begun, await self._book.split(tx, begun))
        else:
            ready = await self._steps.prepare(tx, begun)
            if isinstance(ready, Stopped):
                await self._book.end_all(tx, begun, ready.state, ready.code)
            elif isinstance(ready, Hold):
                await self._book.give_back(tx, begun, delay=ready.delay)
                await self._put(tx, begun, [Waiting(begun.batch_no, len(begun.device_ids), ready.delay)])
            else:
                reached, unreached = await self._steps.reach(tx, begun.app_id, begun.device_ids, begun.planned_at)
                return ready, reached, unreached
        await self._planned.ack(tx, [claimed])
        return None

    # -------------------------------------------------------------- send and settle

    async def _send(
        self,
        claimed: Claimed,
        begun: Begun,
        ready: Ready,
        reached: Sequence[Reached],
        ends: list[Fate],
        started: float,
    ) -> None:
        left = {one.device_id for one in reached}
        async for fates, dead in self._steps.send(ready, begun, reached):
            left.difference_update(fate.device_id for fate in fates)
            if not ends and len(fates) == len(begun.device_ids) and _untouched(fates):
                await self._give_back(claimed, begun, max(fate.delay for fate in fates if isinstance(fate, Retry)))
                return
            await self._settle(claimed, begun, ready, Answers([*ends, *fates], dead), sorted(left), started)
            ends = []
        assert not left, "a provider gives a verdict for every device"

    async def _settle(
        self, claimed: Claimed, begun: Begun, ready: Ready, answers: Answers, left: Sequence[UUID], started: float
    ) -> None:
        """Record answers; while the database is away, try again for as long as the lease holds."""
        in_doubt = False
        while True:
            try:
                if not (in_doubt and await self._recorded(begun, left)):
                    await self._record(claimed, begun, ready, answers, left)
                break
            except (Unavailable, LockTimeout) as trouble:
                in_doubt = in_doubt or isinstance(trouble, CommitUnknown)
                if self._clock.monotonic() - started > _LEASE:
                    raise
                _log.warning("settle.unavailable", batch=begun.batch_no, reason=str(trouble))
                await self._clock.sleep(0.5)
        self._waker.wake(Name.PLANNED, *([Name.RETURNS] if answers.dead else []))
        if not left:
            await self._probe(begun)

    async def _record(
        self, claimed: Claimed, begun: Begun, ready: Ready, answers: Answers, left: Sequence[UUID]
    ) -> None:
        async with self._database.scope(begun.app_id) as tx:
            waiting = await self._book.settle(tx, begun, Settlement(answers.fates, left))
            await self._steps.note(tx, ready, answers.fates)
            await self._put(tx, begun, waiting)
            await self._returns.put(tx, list(_returns(begun, answers.dead)))
            if not left:
                await self._planned.ack(tx, [claimed])

    async def _recorded(self, begun: Begun, left: Sequence[UUID]) -> bool:
        """Whether the settle whose commit went unanswered has happened: to do it twice would be a defect."""
        async with self._database.scope(begun.app_id) as tx:
            return await self._book.settled(tx, begun, len(left))

    async def _give_back(self, claimed: Claimed, begun: Begun, delay: float) -> None:
        async with self._database.scope(begun.app_id) as tx:
            await self._book.give_back(tx, begun, delay=delay)
            await self._put(tx, begun, [Waiting(begun.batch_no, len(begun.device_ids), delay)])
            await self._planned.ack(tx, [claimed])

    async def _put(self, tx: Any, begun: Begun, waiting: Sequence[Waiting]) -> None:
        """Hints for batches that wait; those beyond the lane's longest delay are the keeper's."""
        await self._planned.put(
            tx,
            [
                Parked(
                    PlannedHint(begun.app_id, begun.notification_id, batch.batch_no),
                    begun.lane_class,
                    batch.n,
                    batch.delay,
                )
                for batch in waiting
                if batch.delay <= LONGEST_DELAY
            ],
        )

    async def _probe(self, begun: Begun) -> None:
        async with self._database.scope(begun.app_id) as tx:
            await self._book.probe(tx, begun.app_id, begun.notification_id)


def _untouched(fates: Sequence[Fate]) -> bool:
    """Whether nothing of all this was written to the wire."""
    return all(isinstance(fate, Retry) and fate.attempt.verdict == "unsent" for fate in fates)


def _returns(begun: Begun, dead: Sequence[Learned]) -> Sequence[Parked]:
    return [
        Parked(
            ReturnsHint(begun.app_id, tuple(dead[start : start + _RETURNS_IN_A_HINT])),
            begun.lane_class,
            len(dead[start : start + _RETURNS_IN_A_HINT]),
        )
        for start in range(0, len(dead), _RETURNS_IN_A_HINT)
    ]
