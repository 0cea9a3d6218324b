"""The runner: takes hints from a lane, as many as it has slots for, and hands each to its stage.

In: a lane and a stage. Out: nothing; the stage commits. A stage that raises is a defect: the hint comes back later,
ever later, and the row it names still tells the truth.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from tocsin.lanes.lane import Claimed, Lane
from tocsin.storage import LockTimeout, Unavailable
from tocsin.terms.clock import Clock

_log = structlog.get_logger(__name__)

_POLL: Final = 1.0
"""Seconds after which a lane is looked at, wake-up or not."""
_LONGEST_PAUSE: Final = 60.0

Stage = Callable[[Claimed], Awaitable[None]]
"""Carries one hint through: it owns its transactions and acknowledges the hint in one of them."""


class Runner:
    """Runs one stage over one lane."""

    def __init__(
        self, lane: Lane, stage: Stage, *, slots: int, visibility: float, bell: asyncio.Event, clock: Clock
    ) -> None:
        self._lane = lane
        self._stage = stage
        self._slots = slots
        self._visibility = visibility
        self._bell = bell
        self._clock = clock
        self._busy: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then until what has begun has ended."""
        stopping = asyncio.create_task(self._ring_at(stop))
        try:
            while not stop.is_set():
                self._bell.clear()
                await self._take()
                await self._clock.wait(self._bell, _POLL)
        finally:
            stopping.cancel()
            while self._busy:
                await asyncio.wait(self._busy)

    async def _ring_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._bell.set()

    async def _take(self) -> None:
        """Fill the free slots. A slot that becomes free rings the bell."""
        free = self._slots - len(self._busy)
        if free <= 0:
            return
        try:
            claimed = await self._lane.claim(free, self._visibility)
        except (Unavailable, LockTimeout) as trouble:
            _log.warning("lane.unavailable", reason=str(trouble))
            return
        for one in claimed:
            task = asyncio.create_task(self._carry(one))
            self._busy.add(task)
            task.add_done_callback(self._freed)

    def _freed(self, task: asyncio.Task[None]) -> None:
        self._busy.discard(task)
        self._bell.set()

    async def _carry(self, claimed: Claimed) -> None:
        try:
            await self._stage(claimed)
        except (Unavailable, LockTimeout) as trouble:
            _log.warning("stage.unavailable", hint=repr(claimed.hint), reason=str(trouble))
            await self._put_off(claimed)
        except Exception:
            _log.exception("stage.defect", hint=repr(claimed.hint), receives=claimed.receives)
            await self._put_off(claimed)

    async def _put_off(self, claimed: Claimed) -> None:
        try:
            await self._lane.release([claimed], min(2.0**claimed.receives, _LONGEST_PAUSE))
        except (Unavailable, LockTimeout) as trouble:
            _log.warning("lane.unavailable", reason=str(trouble))  # its visibility ends by itself
