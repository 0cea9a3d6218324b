"""What is answered while an upload still runs, with a bound on what the caller has not read yet.

In: lines for the caller, and ranges of lines that are done. Out: NDJSON, sent as fast as it is read. Ranges not
sent yet are joined into one, so that good lines cost nothing however late they are read; only errors add up, to 1 MiB.
A caller who has read nothing of a full MiB for a minute is let go: what is done is done, and the import can be resumed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from starlette.requests import ClientDisconnect

from tocsin.terms.clock import Clock

UNREAD: Final = 1 << 20
"""Octets that wait for the caller before the upload is read no further."""
PATIENCE: Final = 60.0
"""Seconds a caller may leave a full buffer untouched."""

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(slots=True)
class _Range:
    """Lines that are done, from `first` to `last`. `seen` ones had been done by an earlier upload."""

    first: int
    last: int
    accepted: int
    created: int
    seen: bool

    def written(self) -> bytes:
        span = {"lines": [self.first, self.last]}
        if self.seen:
            return orjson.dumps(span | {"seen": True}) + b"\n"
        return orjson.dumps(span | {"accepted": self.accepted, "created": self.created}) + b"\n"


class Answers:
    """The answer to one upload, written by a task of its own: `async with Answers(send, clock) as answers`."""

    def __init__(self, send: Send, clock: Clock, *, unread: int = UNREAD, patience: float = PATIENCE) -> None:
        self._send = send
        self._clock = clock
        self._unread = unread
        self._patience = patience
        self._waiting = bytearray()
        self._range: _Range | None = None
        self._closing = False
        self._something = asyncio.Event()
        self._room = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Answers":
        self._writer = asyncio.create_task(self._write())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._writer is not None
        if kind is not None:
            self._writer.cancel()
            await asyncio.wait({self._writer})
            return
        self._closing = True
        self._something.set()
        while not self._writer.done():
            await self._wait_for_reader()
        self._writer.result()

    def say(self, value: Mapping[str, Any]) -> None:
        """One line, after everything said before."""
        self._close_range()
        self._waiting += orjson.dumps(value) + b"\n"
        self._something.set()

    def done(self, first: int, last: int, *, accepted: int = 0, created: int = 0, seen: bool = False) -> None:
        """The lines `first` to `last` are on disk: all of them, of which `accepted` are devices."""
        joined = self._range
        if joined is not None and joined.seen == seen and joined.last + 1 == first:
            joined.last, joined.accepted, joined.created = last, joined.accepted + accepted, joined.created + created
        else:
            self._close_range()
            self._range = _Range(first, last, accepted, created, seen)
        self._something.set()

    async def room(self) -> None:
        """Wait until there is room for more; raises ClientDisconnect if the caller has gone or does not read."""
        assert self._writer is not None
        while len(self._waiting) > self._unread and not self._writer.done():
            await self._wait_for_reader()
        if self._writer.done():
            self._writer.result()

    async def _wait_for_reader(self) -> None:
        assert self._writer is not None
        self._room.clear()
        if not self._writer.done() and not await self._clock.wait(self._room, self._patience):
            self._writer.cancel()
            raise ClientDisconnect

    def _close_range(self) -> None:
        if self._range is not None:
            self._waiting += self._range.written()
            self._range = None

    async def _write(self) -> None:
        try:
            while self._waiting or self._range is not None or not self._closing:
                await self._something.wait()
                self._something.clear()
                self._close_range()
                piece, self._waiting = bytes(self._waiting), bytearray()
                self._room.set()
                if piece:
                    await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._room.set()
