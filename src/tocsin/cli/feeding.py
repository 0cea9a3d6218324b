"""A file or a pipe as blocks of whole lines, read by a thread of its own so that a silent pipe holds up nobody.

In: a file descriptor. Out: blocks, each with the numbers of its lines, a few read ahead. A line over 64 KiB is cut, as
the API refuses it anyway; so memory is bounded whatever comes.
"""

import asyncio
import os
import threading
from typing import Final, NamedTuple

PIECE: Final = 64 * 1024
"""Octets read at a time."""
LONGEST: Final = 64 * 1024
"""Octets of a line that the API takes, at most."""
AHEAD: Final = 8
"""Blocks that are read before they are asked for."""


class Block(NamedTuple):
    """Whole lines, from line `first` to line `last`."""

    first: int
    last: int
    octets: bytes


class Cutter:
    """Makes blocks of pieces. The first `skip` lines are left out."""

    def __init__(self, skip: int = 0) -> None:
        self._skip = skip
        self._done = 0
        self._rest = bytearray()

    def feed(self, piece: bytes) -> Block | None:
        """The lines that end in this piece."""
        head, newline, tail = piece.rpartition(b"\n")
        if not newline:
            self._keep(piece)
            return None
        self._keep(head if b"\n" not in head else head[: head.index(b"\n")])
        whole = bytes(self._rest) + (head[head.index(b"\n") :] if b"\n" in head else b"") + b"\n"
        self._rest = bytearray()
        self._keep(tail)
        return self._block(whole)

    def end(self) -> Block | None:
        """The last line, if it had no end."""
        whole, self._rest = bytes(self._rest), bytearray()
        return self._block(whole + b"\n") if whole else None

    def _keep(self, piece: bytes) -> None:
        """Add to the line that has begun, up to one octet more than is taken."""
        self._rest += piece[: LONGEST + 1 - len(self._rest)]

    def _block(self, whole: bytes) -> Block | None:
        count = whole.count(b"\n")
        first, self._done = self._done + 1, self._done + count
        if self._done <= self._skip:
            return None
        start = 0
        while first <= self._skip:
            start = whole.index(b"\n", start) + 1
            first += 1
        return Block(first, self._done, whole[start:])


class Feed:
    """The blocks of a file descriptor, as they come. `octets` counts what was read of it."""

    def __init__(self, descriptor: int, *, skip: int = 0) -> None:
        self.octets = 0
        self._descriptor = descriptor
        self._cutter = Cutter(skip)
        self._loop = asyncio.get_running_loop()
        self._blocks: asyncio.Queue[Block | OSError | None] = asyncio.Queue()
        self._room = threading.BoundedSemaphore(AHEAD)
        self._ended = False
        threading.Thread(target=self._read, name="feed", daemon=True).start()

    async def next(self) -> Block | None:
        """The next block, or None at the end; raises OSError if reading failed. May be cancelled without loss."""
        if self._ended:
            return None
        block = await self._blocks.get()
        if isinstance(block, Block):
            self._room.release()
            return block
        self._ended = True
        if block is not None:
            raise block
        return None

    def _read(self) -> None:
        try:
            while piece := os.read(self._descriptor, PIECE):
                self.octets += len(piece)
                self._give(self._cutter.feed(piece))
            self._give(self._cutter.end())
        except OSError as failed:
            self._put(failed)
        else:
            self._put(None)

    def _give(self, block: Block | None) -> None:
        if block is not None:
            self._room.acquire()
            self._put(block)

    def _put(self, what: Block | OSError | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._blocks.put_nowait, what)
