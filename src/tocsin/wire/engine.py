"""The engine: what fulfils `Wire`.

In: batches of calls to any origins. Out: for each call exactly one ending, in chunks. It keeps a pool of connections
for each origin, counts the connections of all, and closes what is idle. Refuses nothing itself: the guard and the
pools do. Use one engine for one set of authorities, inside one event loop; the loop's time is its clock.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tocsin.wire.bounds import Bounds
from tocsin.wire.endings import Call, Ending, Origin, Unsent
from tocsin.wire.flights import Batch, Flight
from tocsin.wire.guard import Resolve, Trusted, resolve
from tocsin.wire.pool import Means, Pool
from tocsin.wire.tls import client_context


class Engine:
    """Sends calls over HTTP/2.

    `ca_file` replaces the system's certificate authorities; `trusted` are the (host, port) that guarded origins may
    reach although they are not public: the lab's, and nothing else. Raises OSError or ssl.SSLError for a bad `ca_file`.
    """

    def __init__(
        self,
        *,
        ca_file: Path | None = None,
        trusted: Trusted = frozenset(),
        bounds: Bounds | None = None,
        resolver: Resolve = resolve,
        draw: Callable[[], float] = random.random,
    ) -> None:
        bounds = bounds or Bounds()
        self._means = Means(bounds, client_context(ca_file), trusted, resolver, self, draw)
        self._bounds = bounds
        self._pools: dict[Origin, Pool] = {}
        self._connections = 0
        self._wanting: dict[Pool, None] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def submit(
        self, calls: Sequence[Call], *, write_within: float = 8.0, answer_within: float = 12.0
    ) -> AsyncGenerator[Sequence[tuple[int, Ending]], None]:
        """Send a batch of calls; give chunks of (index in `calls`, ending): see `Wire.submit`.

        The times, in seconds, run from the first chunk asked for. Giving up early (`aclose`) leaves what is not
        written unsent.
        """
        if not calls:
            return
        if self._closed:
            yield [(index, Unsent("no_connection", "the engine was closed")) for index in range(len(calls))]
            return
        batch = Batch(calls, write_within, answer_within, self._unwritten, self._swept)
        by_origin: dict[Origin, list[Flight]] = {}
        for flight in batch.flights:
            by_origin.setdefault(flight.call.origin, []).append(flight)
        for origin, flights in by_origin.items():
            self._pool(origin).put(flights)
        try:
            while not batch.done:
                yield await batch.chunk()
        finally:
            batch.abandon()

    async def close(self) -> None:
        """End all connections: what is written ends ambiguous, what waits ends unsent, what comes later too."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))
        self._pools.clear()

    # ------------------------------------------------------------------ the budget of connections

    @property
    def pressed(self) -> bool:
        """Whether a pool waits for a connection that was not granted."""
        return bool(self._wanting)

    def grant(self, pool: Pool) -> bool:
        """Count one more connection if the bounds allow; else close an idle one, and pump the pool when one is gone."""
        if self._connections < self._bounds.connections:
            self._connections += 1
            self._wanting.pop(pool, None)
            return True
        self._wanting[pool] = None
        any(other.close_one_idle() for other in self._pools.values())
        return False

    def release(self) -> None:
        """A connection is gone: whoever waited longest for one may dial."""
        self._connections -= 1
        if self._wanting and not self._closed:
            asyncio.get_running_loop().call_soon(self._serve_wanting)

    # ------------------------------------------------------------------ inside

    def _serve_wanting(self) -> None:
        while self._wanting and self._connections < self._bounds.connections:
            pool = next(iter(self._wanting))
            del self._wanting[pool]
            pool.pump()

    def _pool(self, origin: Origin) -> Pool:
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = Pool(origin, self._means)
            if self._sweeper is None:
                self._sweep_later()
        return pool

    def _unwritten(self, flight: Flight) -> Unsent:
        return self._pools[flight.call.origin].unwritten()

    def _swept(self, batch: Batch) -> None:
        for origin in {flight.call.origin for flight in batch.flights}:
            with suppress(KeyError):  # a pool whose last call ended may be gone
                self._pools[origin].pump()

    def _sweep_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(self._bounds.idle_after / 4, self._sweep)

    def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        for origin, pool in tuple(self._pools.items()):
            if pool.sweep(now):
                del self._pools[origin]
                self._wanting.pop(pool, None)
        self._sweeper = None
        if self._pools:
            self._sweep_later()
