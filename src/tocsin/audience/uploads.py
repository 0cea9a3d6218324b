"""The body of a request as chunks of lines, while it is still arriving.

In: the ASGI `receive` of a request. Out: chunks of at most 500 lines; a slow sender's lines wait 200 ms for company and
no longer. Nothing is read ahead of what was asked for, so the server's own flow control holds back a fast sender.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final

from starlette.requests import ClientDisconnect

from tocsin.audience.lines import Line, Splitter
from tocsin.terms.clock import Clock

CHUNK: Final = 500
"""Lines in a chunk, at most: what one transaction takes."""
LINGER: Final = 0.2
"""Seconds for which the first line of a chunk waits for more."""

Message = MutableMapping[str, Any]


class Upload:
    """One body, read once."""

    def __init__(self, receive: Callable[[], Awaitable[Message]], clock: Clock) -> None:
        self._receive = receive
        self._clock = clock
        self._splitter = Splitter()
        self._lines: deque[Line] = deque()
        self._ended = False
        self._pending: asyncio.Future[Message] | None = None
        self._came = asyncio.Event()

    async def begin(self) -> None:
        """Ask for the body before anything is answered: a client that sent Expect: 100-continue is let on by this."""
        self._ask()
        await asyncio.wait({self._ask()}, timeout=0)

    def close(self) -> None:
        """Stop reading."""
        if self._pending is not None:
            self._pending.cancel()

    async def chunks(self) -> AsyncIterator[list[Line]]:
        """The lines of the body; raises ClientDisconnect if the caller goes before its end, dropping half a line."""
        while self._lines or not self._ended:
            if not self._lines:
                await self._ask()
                self._take()
                continue
            await self._gather()
            yield [self._lines.popleft() for _ in range(min(CHUNK, len(self._lines)))]

    async def _gather(self) -> None:
        """Wait for a full chunk, for the end of the body or for the time to be up."""
        until = self._clock.monotonic() + LINGER
        while len(self._lines) < CHUNK and not self._ended:
            if not self._ask().done() and not await self._clock.wait(self._came, until - self._clock.monotonic()):
                return
            self._take()

    def _ask(self) -> asyncio.Future[Message]:
        """The next piece, on its way."""
        if self._pending is None:
            self._came.clear()
            self._pending = asyncio.ensure_future(self._receive())
            self._pending.add_done_callback(lambda _: self._came.set())
        return self._pending

    def _take(self) -> None:
        """Cut the piece that has come into lines."""
        assert self._pending is not None
        message, self._pending = self._pending.result(), None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self._lines += self._splitter.feed(message.get("body", b""))
        if not message.get("more_body", False):
            self._ended = True
            self._lines += self._splitter.end()
