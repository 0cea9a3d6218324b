"""The connections to one origin and the calls that wait for them.

In: flights of any batch. Out: flights opened on connections, first come first served; endings for those that cannot
get one. Connections are dialled as streams demand: one first, and once it stands as many as the queue needs. Refuses
to wait for an origin that fails twice in a row, or in a way that trying again cannot mend.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tocsin.wire.addresses import ForbiddenAddress
from tocsin.wire.backoff import pause
from tocsin.wire.bounds import Bounds
from tocsin.wire.connection import Connection
from tocsin.wire.endings import Origin, Unsent
from tocsin.wire.flights import Flight
from tocsin.wire.guard import Resolve, Trusted, pin
from tocsin.wire.tls import explain, lasting


class Budget(Protocol):
    """Who keeps count of all connections of the process."""

    @property
    def pressed(self) -> bool:
        """Whether somebody waits for a connection that was not granted."""
        ...

    def grant(self, pool: "Pool") -> bool:
        """Whether one more connection may be dialled; if not, the pool is pumped when one may."""
        ...

    def release(self) -> None:
        """A connection that was granted is gone."""
        ...


@dataclass(frozen=True, slots=True)
class Means:
    """What all pools of an engine share."""

    bounds: Bounds
    tls: ssl.SSLContext
    trusted: Trusted
    resolver: Resolve
    budget: Budget
    draw: Callable[[], float]


class Pool:
    """The pool of one origin; it is the `Owner` of its connections."""

    def __init__(self, origin: Origin, means: Means) -> None:
        self.origin = origin
        self._loop = asyncio.get_running_loop()
        self._means = means
        self._bounds = means.bounds
        self._queue: deque[Flight] = deque()
        self._live: list[Connection] = []
        self._draining: set[Connection] = set()
        self._dialling: set[asyncio.Task[None]] = set()
        self._streams = 100
        self._failures = 0
        self._doomed: Unsent | None = None
        self._last: Unsent | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._closed = False

    # ------------------------------------------------------------------ for the engine

    def put(self, flights: Sequence[Flight]) -> None:
        """Take flights to send."""
        if self._doomed is not None:
            for flight in flights:
                flight.end(self._doomed)
            return
        self._queue.extend(flights)
        self.pump()

    def pump(self) -> None:
        """Open streams for what waits, and dial when there are not enough of them."""
        queue = self._queue
        for connection in tuple(self._live):
            while queue and connection.room() > 0:
                flight = queue.popleft()
                if not flight.ended:
                    connection.open(flight)
        while queue and queue[0].ended:
            queue.popleft()
        if queue:
            self._dial_enough()
        elif self._means.budget.pressed:
            self.close_one_idle()

    def unwritten(self) -> Unsent:
        """Why a flight that never had a stream has not been written by its time."""
        if self._live:
            return Unsent("late", f"no stream to {self.origin.authority} became free in time")
        if self._last is not None:
            return self._last
        return Unsent("no_connection", f"{self.origin.authority} did not take a connection in time")

    def sweep(self, now: float) -> bool:
        """Close what has been idle for long; True if nothing is left here to keep."""
        for connection in tuple(self._live):
            if not connection.busy and now - connection.idle_since >= self._bounds.idle_after:
                self._let_go(connection)
        return not (self._live or self._draining or self._dialling or self._queue or self._retry)

    def close_one_idle(self) -> bool:
        """Close one connection without a stream to make room elsewhere; False if there is none."""
        if self._queue:
            return False
        for connection in self._live:
            if not connection.busy:
                self._let_go(connection)
                return True
        return False

    async def close(self) -> None:
        """End all connections: what is written ends ambiguous, what waits ends unsent."""
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        for task in tuple(self._dialling):
            task.cancel()
        await asyncio.gather(*self._dialling, return_exceptions=True)
        for connection in (*self._live, *self._draining):
            connection.abort("the engine was closed")
        if self._live or self._draining:
            await asyncio.wait([connection.lost for connection in (*self._live, *self._draining)])
        self._end_queue(Unsent("no_connection", "the engine was closed"))

    # ------------------------------------------------------------------ for its connections

    def proved(self) -> None:
        """A connection brought an answer: the origin is well."""
        self._failures = 0
        self._last = None

    def come_back(self, flights: Sequence[Flight], why: Unsent) -> None:
        """Put flights back at the head of the queue, or end them if their time or their tries are used up."""
        now = self._loop.time()
        waiting = []
        for flight in flights:
            flight.land()
            flight.why = why
            if self._closed or now >= flight.batch.write_by or flight.refusals > self._bounds.refusals:
                flight.end(why)
            else:
                waiting.append(flight)
        self._queue.extendleft(reversed(waiting))

    def retired(self, connection: Connection, why: Unsent) -> None:
        """A connection takes no more streams: another may take its place. A fruitless one is a failed attempt."""
        if connection in self._live:
            self._live.remove(connection)
            self._draining.add(connection)
            if connection.fruitless and not self._closed:
                self._failed(why, lasts=False)

    def gone(self, connection: Connection, why: Unsent) -> None:
        """A connection is closed."""
        self.retired(connection, why)
        if connection in self._draining:  # else it never came to stand, and the dialling task tells
            self._draining.remove(connection)
            self._means.budget.release()
            self.pump()

    # ------------------------------------------------------------------ inside

    def _let_go(self, connection: Connection) -> None:
        connection.retire("it was idle")

    def _dial_enough(self) -> None:
        """Dial one connection to an origin that has none, or as many as the queue can fill."""
        if self._closed or self._retry is not None:
            return
        wanted = 1
        if self._live:
            wanted = min(
                -(-len(self._queue) // self._streams),
                self._bounds.connections_per_origin - len(self._live),
            )
        for _ in range(wanted - len(self._dialling)):
            if not self._means.budget.grant(self):
                return
            task = self._loop.create_task(self._dial())
            self._dialling.add(task)

    async def _dial(self) -> None:
        """Bring one connection to stand, or tell the pool why not."""
        task = asyncio.current_task()
        assert task is not None
        failure: Exception | None = None
        connection: Connection | None = None
        try:
            async with asyncio.timeout(self._bounds.connect_within):
                connection = await self._connect()
        except (OSError, ValueError) as caught:
            failure = caught
        finally:
            self._dialling.discard(task)
            if connection is None:
                self._means.budget.release()
        if connection is not None:
            self._live.append(connection)
            self._streams = max(1, connection.most)
            self.pump()
        elif isinstance(failure, ForbiddenAddress):
            self._failed(Unsent("forbidden_address", str(failure)), lasts=True)
        else:
            assert failure is not None
            name = self.origin.authority
            self._failed(Unsent("no_connection", explain(failure, name)), lasts=lasting(failure))

    async def _connect(self) -> Connection:
        """Resolve, connect, shake hands, hear the peer's SETTINGS.

        Raises OSError, ForbiddenAddress, and UnicodeError for a name that cannot be one.
        """
        origin = self.origin
        pinned = await pin(origin, self._means.trusted, self._means.resolver) if origin.guarded else None
        failure: OSError | None = None
        for address in (origin.host,) if pinned is None else pinned:
            try:
                _, connection = await self._loop.create_connection(
                    lambda: Connection(origin, self, self._bounds),
                    address,
                    origin.port,
                    ssl=self._means.tls,
                    server_hostname=origin.host,
                )
            except OSError as caught:
                failure = caught
                continue
            try:
                await connection.ready
            except BaseException:
                connection.abort("it did not come to stand")
                raise
            if not connection.draining:
                return connection
            failure = ConnectionResetError(f"{origin.authority} sent the connection away at once")
        assert failure is not None
        raise failure

    def _failed(self, why: Unsent, *, lasts: bool) -> None:
        """Count a failed attempt: wait before the next, and end what waits if that will not help."""
        self._failures += 1
        self._last = why
        if self._retry is None:
            self._retry = self._loop.call_later(pause(self._failures, self._means.draw), self._try_again)
        if self._live or self._dialling:
            return
        if lasts:
            self._doomed = why
        if lasts or self._failures >= self._bounds.attempts:
            self._end_queue(why)

    def _try_again(self) -> None:
        self._retry = None
        self._doomed = None
        self.pump()

    def _end_queue(self, why: Unsent) -> None:
        queue, self._queue = self._queue, deque()
        for flight in queue:
            if not flight.ended:
                flight.end(flight.why or why)
