"""Wake-ups between processes: after a commit, on a connection of their own, at most one per lane in 5 ms.

A wake-up is a kindness, not a promise: everybody also polls each second, so a lost one costs at most that.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from tocsin.lanes.lane import Name
from tocsin.storage import Unavailable
from tocsin.terms.clock import Clock

_log = structlog.get_logger(__name__)

CHANNEL: Final = "tocsin_lanes"
_GATHER: Final = 0.005


class Waker:
    """Says that a lane has something, to every process that listens."""

    def __init__(self, notify: Callable[[str, str], Awaitable[None]], clock: Clock) -> None:
        self._notify = notify
        self._clock = clock
        self._due: set[Name] = set()
        self._flush: asyncio.Task[None] | None = None

    def wake(self, *lanes: Name) -> None:
        """Wake whoever waits on these lanes, soon; call it after the commit."""
        self._due.update(lanes)
        if self._due and self._flush is None:
            self._flush = asyncio.create_task(self._soon(), name="wake")

    async def _soon(self) -> None:
        try:
            await self._clock.sleep(_GATHER)
            due, self._due = self._due, set()
            for lane in sorted(due):
                await self._notify(CHANNEL, lane)
        except Unavailable as trouble:
            _log.info("wake.lost", reason=str(trouble))
        finally:
            self._flush = None


class Bells:
    """One event per lane, rung by wake-ups from anywhere."""

    def __init__(self) -> None:
        self._bells = {name: asyncio.Event() for name in Name}

    def of(self, lane: Name) -> asyncio.Event:
        """The bell of a lane: wait on it, then clear it."""
        return self._bells[lane]

    def ring(self, payload: str) -> None:
        """A wake-up came in; an unknown lane's (of a newer version beside us) is not ours to hear."""
        if payload in self._bells:
            self._bells[Name(payload)].set()

    def ring_all(self) -> None:
        """Something may have been missed (the listening connection was lost): look everywhere."""
        for bell in self._bells.values():
            bell.set()
