"""Calls on their way, and the batch that gathers their endings.

In: the calls of one submit, then an ending for each, in any order. Out: chunks of (index, ending), at most one a second
and one at the end. A batch costs one future a chunk and two timers; a call costs none. Refuses a second ending.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tocsin.wire.endings import Ambiguous, Answered, Call, Ending, Headers, Unsent

if TYPE_CHECKING:
    from tocsin.wire.connection import Connection

CHUNK_EVERY = 1.0
"""Seconds between chunks, but for the last."""


class Flight:
    """One call between submit and its ending.

    `connection` is set while a stream is open for it; `written` once its HEADERS left to the transport; `why` is the
    last reason it came back unsent.
    """

    __slots__ = (
        "batch", "body", "call", "connection", "ended", "headers", "index",
        "refusals", "rest", "status", "stream_id", "uncredited", "why", "written",
    )  # fmt: skip

    def __init__(self, batch: "Batch", index: int, call: Call) -> None:
        self.batch = batch
        self.index = index
        self.call = call
        self.refusals = 0
        self.why: Unsent | None = None
        self.ended = False
        self.land()

    def land(self) -> None:
        """Back to the state before a stream was opened."""
        self.connection: Connection | None = None
        self.stream_id = 0
        self.written = False
        self.rest: memoryview | None = None
        self.status = 0
        self.headers: Headers = ()
        self.body = b""
        self.uncredited = 0

    def answered(self) -> None:
        """End with what the peer answered."""
        self.end(Answered(self.status, self.headers, self.body))

    def end(self, ending: Ending) -> None:
        """Give the ending to the batch. Must not be called twice."""
        assert not self.ended, "a call ends once"
        self.ended = True
        self.connection = None
        self.batch.collect(self.index, ending)


class Batch:
    """The calls of one submit, at least one.

    `reason` says why a call was not written in time; `on_sweep` is called after a deadline passed, so that freed
    streams are used.
    """

    def __init__(
        self,
        calls: Sequence[Call],
        write_within: float,
        answer_within: float,
        reason: Callable[[Flight], Unsent],
        on_sweep: Callable[["Batch"], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._reason = reason
        self._on_sweep = on_sweep
        self.started = loop.time()
        self.write_by = self.started + min(write_within, answer_within)
        self.flights = [Flight(self, index, call) for index, call in enumerate(calls)]
        self._left = len(self.flights)
        self._ended: list[tuple[int, Ending]] = []
        self._due = False
        self._waiter: asyncio.Future[None] | None = None
        self._timers = [
            loop.call_at(self.write_by, self._sweep_unwritten),
            loop.call_at(self.started + answer_within, self._sweep_unanswered),
        ]

    @property
    def done(self) -> bool:
        """Whether every ending has been given out."""
        return not self._left and not self._ended

    async def chunk(self) -> Sequence[tuple[int, Ending]]:
        """The endings since the last chunk: waits for the last one, or a second and at least one."""
        if self._left:
            tick = self._loop.call_later(CHUNK_EVERY, self._tick)
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                tick.cancel()
                self._waiter = None
                self._due = False
        ended, self._ended = self._ended, []
        return ended

    def collect(self, index: int, ending: Ending) -> None:
        """Take one ending."""
        self._ended.append((index, ending))
        self._left -= 1
        if self._left == 0:
            for timer in self._timers:
                timer.cancel()
            self._wake()
        elif self._due:
            self._wake()

    def abandon(self) -> None:
        """Nobody listens any more: what is not written never will be; what is written is still waited for."""
        self._timers[0].cancel()
        self.write_by = self.started
        for flight in self.flights:
            if not flight.ended and flight.connection is None:
                flight.end(Unsent("late", "nobody waits for it any more"))

    def _tick(self) -> None:
        self._due = True
        if self._ended:
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _sweep_unwritten(self) -> None:
        for flight in self.flights:
            if not flight.ended and flight.connection is None:
                flight.end(flight.why or self._reason(flight))
        self._on_sweep(self)

    def _sweep_unanswered(self) -> None:
        for flight in self.flights:
            if flight.ended:
                continue
            if flight.connection is not None:
                flight.connection.cancel(flight)
            if flight.written:
                flight.end(Ambiguous("timed_out", "no answer in time" if not flight.status else _partial(flight)))
            else:
                flight.end(flight.why or self._reason(flight))
        self._on_sweep(self)


def _partial(flight: Flight) -> str:
    return f"status {flight.status} came, the rest of the answer did not in time"
