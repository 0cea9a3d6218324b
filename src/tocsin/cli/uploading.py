"""An import from the client's side: sends and reads at once, and goes on by itself when the API goes away and returns.

In: blocks of lines. Out: the answers, each once, in the order of the lines. What the API has not yet said to be on disk
is kept, up to 8 MiB, and sent again to whoever answers next; the API knows what it has done and does nothing twice.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from tocsin.cli import show
from tocsin.cli.client import Client, refused, unreachable
from tocsin.cli.exits import Exit, Stop
from tocsin.cli.feeding import Block, Feed

if TYPE_CHECKING:
    import aiohttp

UNACKNOWLEDGED: Final = 8 << 20
"""Octets sent and not yet said to be on disk, at most."""
QUIET: Final = 60.0
"""Seconds in which lines that were sent have to be answered."""
PAUSES: Final = (0.2, 0.5, 1.0, 2.0)
"""Seconds between tries; the last one again and again."""

Tell = Callable[[Mapping[str, Any]], None]


class _Lost(Exception):
    """The upload broke off and may be resumed."""


@dataclass(slots=True)
class Tally:
    """What has come of the import so far, in this run of the command."""

    lines: int = 0
    rejected: int = 0
    resumed: int = 0


class Uploader:
    """One import. `tell` hears each answer once; `patience` is how many seconds the API may be away."""

    def __init__(self, api: Client, import_id: str, feed: Feed, tell: Tell, *, done: int, patience: float) -> None:
        self.tally = Tally(lines=done)
        self._api = api
        self._import_id = import_id
        self._feed = feed
        self._tell = tell
        self._patience = patience
        self._refused_up_to = done
        self._waiting: deque[Block] = deque()
        self._sent: deque[tuple[Block, float]] = deque()
        self._kept = 0
        self._reading: asyncio.Future[Block | None] | None = None
        self._changed = asyncio.Event()
        self._unreadable: BaseException | None = None
        self._answered = False
        self._final: Mapping[str, Any] | None = None

    async def run(self) -> Mapping[str, Any]:
        """Upload to the end; gives the last answer, with the counts of the whole import. Raises Stop."""
        alive, tries = time.monotonic(), 0
        while True:
            before = self.tally.lines
            try:
                await self._upload()
            except _Lost as lost:
                if self.tally.lines > before:
                    alive, tries = time.monotonic(), 0
                if not self._answered or time.monotonic() - alive > self._patience:
                    raise unreachable(self._api.where, lost) from None
                if not tries:
                    show.note(f"the API went away ({lost}); going on as soon as it is back")
                await asyncio.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
                tries += 1
                self.tally.resumed += 1
            else:
                assert self._final is not None
                return self._final

    async def _upload(self) -> None:
        import aiohttp

        self._waiting.extendleft(block for block, _ in reversed(self._sent))
        self._sent.clear()
        first = self._waiting[0].first if self._waiting else self.tally.lines + 1
        query = {"import_id": self._import_id, "from_line": str(first)}
        over = asyncio.Event()
        try:
            async with self._api.session.post(
                f"{self._api.where.url}/v1/devices/import",
                params=query,
                data=self._body(over),
                headers={"Content-Type": "application/x-ndjson", "Accept": "application/x-ndjson"},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            ) as answer:
                try:
                    if answer.status != 200:
                        await self._refuse(answer)
                    await self._read(answer.content)
                finally:
                    answer.close()  # or a body that ends early would look like a whole one
                    self._end(over)
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as lost:
            raise _Lost(str(lost) or type(lost).__name__) from lost
        finally:
            self._end(over)
        if self._unreadable is not None:
            raise Stop(Exit.FAILED, f"The lines cannot be read on: {self._unreadable}.")
        if self._final is None:
            raise _Lost("it ended its answer too early")

    def _end(self, over: asyncio.Event) -> None:
        """Let the body of this upload end: the client library waits for it, and the next upload takes its blocks."""
        over.set()
        self._changed.set()

    async def _refuse(self, answer: "aiohttp.ClientResponse") -> None:
        stop = refused(answer.status, await answer.text(), answer.headers.get("Request-Id"))
        if answer.status >= 500 or answer.status in (409, 429):
            self._answered = True
            raise _Lost(stop.message)
        raise stop

    async def _body(self, over: asyncio.Event) -> AsyncIterator[bytes]:
        while not over.is_set():
            if self._waiting:
                block = self._waiting.popleft()
            elif self._kept > UNACKNOWLEDGED or not self._fresh().done():
                await self._change()
                continue
            else:
                fresh, self._reading = self._fresh(), None
                if fresh.exception() is not None:
                    self._unreadable = fresh.exception()
                    return
                taken = fresh.result()
                if taken is None:
                    return
                block = taken
                self._kept += len(block.octets)
            self._sent.append((block, time.monotonic()))
            yield block.octets

    def _fresh(self) -> asyncio.Future[Block | None]:
        """The next block of the feed, on its way."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._feed.next())
            self._reading.add_done_callback(lambda _: self._changed.set())
        return self._reading

    async def _change(self) -> None:
        """Wait until there is room, a block, or an end."""
        self._changed.clear()
        await self._changed.wait()

    async def _read(self, content: "aiohttp.StreamReader") -> None:
        """Take in the answers until they end."""
        reading = asyncio.ensure_future(content.readline())
        try:
            while True:
                await asyncio.wait({reading}, timeout=1.0)
                if reading.done():
                    line = reading.result()
                    if not line:
                        return
                    self._take(line)
                    reading = asyncio.ensure_future(content.readline())
                elif self._sent and time.monotonic() - self._sent[0][1] > QUIET:
                    raise _Lost(f"it has not answered for {QUIET:.0f} seconds")
        finally:
            reading.cancel()

    def _take(self, line: bytes) -> None:
        try:
            answer = orjson.loads(line)
        except orjson.JSONDecodeError:
            raise _Lost("its answer was cut off") from None
        self._answered = True
        if "line" in answer:
            if answer["line"] > self._refused_up_to:
                self._refused_up_to = answer["line"]
                self.tally.rejected += 1
                self._tell(answer)
        elif "error" in answer:
            if not answer["error"].get("retryable"):
                raise Stop(Exit.FAILED, answer["error"]["detail"], answer["error"].get("suggestion"), answer["error"])
            raise _Lost(answer["error"]["detail"])
        elif "done" in answer:
            self._final = answer
            self._tell(answer)
        elif isinstance(answer["lines"], list):
            self._acknowledge(answer["lines"][1])
            self._tell(answer)

    def _acknowledge(self, last: int) -> None:
        self.tally.lines = max(self.tally.lines, last)
        while self._sent and self._sent[0][0].last <= last:
            block, _ = self._sent.popleft()
            self._kept -= len(block.octets)
        self._changed.set()
