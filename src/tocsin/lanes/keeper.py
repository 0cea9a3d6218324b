"""The keeper: finds what is overdue and sets it moving again. If it stops nothing is lost, only late.

Every second: hints for batches that are due, lost or outlived their worker, and for runs never planned; cancels are
finished, expired runs swept, ended runs closed. Every minute: partitions, expired idempotency keys, dead hints.
One keeper is active at a time, by a lock of the database.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from tocsin.lanes.book import Watch
from tocsin.lanes.control import Control
from tocsin.lanes.lane import Lane, Name, Parked
from tocsin.lanes.postgres import SQL
from tocsin.lanes.waking import Waker
from tocsin.storage import Database, LockTimeout, Unavailable
from tocsin.terms.batches import Unfinished
from tocsin.terms.clock import Clock
from tocsin.terms.handoffs import PlannedHint
from tocsin.terms.outcomes import State, Status

_log = structlog.get_logger(__name__)

BEAT: Final = "keeper"
_EVERY: Final = 1.0
_CHORES_EVERY: Final = 60.0
_AT_ONCE: Final = 1000
_DEAD_AFTER: Final = 100
"""Receives after which a hint is dropped: the row it names is watched anyway."""


class Keeper:
    """Watches over all apps; acts within each app's own scope."""

    def __init__(
        self,
        *,
        database: Database,
        watch: Watch,
        control: Control,
        accepted: Lane,
        planned: Lane,
        waker: Waker,
        chores: Sequence[Callable[[], Awaitable[object]]],
        clock: Clock,
    ) -> None:
        self._database = database
        self._watch = watch
        self._control = control
        self._accepted = accepted
        self._planned = planned
        self._waker = waker
        self._chores = chores
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Keep watch until `stop` is set."""
        chores_at = self._clock.monotonic()
        while not stop.is_set():
            try:
                if await self.tick() and self._clock.monotonic() >= chores_at:
                    chores_at = self._clock.monotonic() + _CHORES_EVERY
                    await self.do_chores()
            except (Unavailable, LockTimeout) as trouble:
                _log.warning("keeper.unavailable", reason=str(trouble))
            except Exception:
                _log.exception("keeper.defect")
            await self._clock.wait(stop, _EVERY)

    async def tick(self) -> bool:
        """One look; False if another keeper is at it."""
        async with self._database.transaction() as tx:
            if not await tx.fetchval(SQL.take_watch):
                return False
            await tx.execute(SQL.beat, BEAT)
            overdue = await self._watch.overdue(tx, _AT_ONCE)
            batches = [one for one in overdue if isinstance(one.hint, PlannedHint)]
            pages = [one for one in overdue if not isinstance(one.hint, PlannedHint)]
            await self._planned.put(tx, [Parked(one.hint, one.lane_class, one.cost) for one in batches])
            await self._accepted.put(tx, [Parked(one.hint, one.lane_class, one.cost) for one in pages])
            unfinished = await self._watch.unfinished(tx, _AT_ONCE)
        self._waker.wake(*([Name.PLANNED] if batches else []), *([Name.ACCEPTED] if pages else []))
        for run in unfinished:
            await self._finish(run)
        return True

    async def _finish(self, run: Unfinished) -> None:
        if run.status is Status.CANCELLING:
            await self._control.finish(run.app_id, run.notification_id)
        elif run.status is Status.PAUSED:
            await self._control.resume(run.app_id, run.notification_id)  # its time is up: let it end
        elif run.expired:
            await self._control.finish(run.app_id, run.notification_id, State.EXPIRED, "ttl_passed")
        else:
            await self._control.probe(run.app_id, run.notification_id)

    async def do_chores(self) -> None:
        """What is due each minute. One that fails is reported and does not keep the others from running."""
        async with self._database.transaction() as tx:
            await tx.execute(SQL.forget_dead, _DEAD_AFTER)
        for chore in self._chores:
            try:
                await chore()
            except Exception:
                _log.exception("keeper.chore_failed")


async def age(database: Database) -> float | None:
    """Seconds since a keeper last looked; None if none ever did."""
    async with database.transaction() as tx:
        beat: float | None = await tx.fetchval(SQL.pulse, BEAT)
    return beat
