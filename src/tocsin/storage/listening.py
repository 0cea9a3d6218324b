"""A line of its own for wake-ups: LISTEN and NOTIFY, outside every pool and transaction.

In: a channel. Out: what is said there, for ever: a lost connection is made anew. NOTIFY inside a transaction would make
all commits wait for each other, so it is said here, after them.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import asyncpg

from tocsin.storage import faults

if TYPE_CHECKING:
    _Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    _Connection = asyncpg.Connection

_RECONNECT_FIRST: Final = 0.1
_RECONNECT_MOST: Final = 2.0
_SILENCE: Final = 30.0
"""Seconds without a word after which the connection is asked whether it still lives."""
_BACKLOG: Final = 1000


class _Heard:
    """Payloads waiting to be read; more than a backlog of them become one "something was missed"."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[str | None] = asyncio.Queue()
        self.ended = asyncio.Event()

    def hear(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        room = _BACKLOG - self._waiting.qsize()
        if room > 0:
            self._waiting.put_nowait(str(payload) if room > 1 else None)

    def end(self, _connection: Any) -> None:
        self.ended.set()
        self._waiting.put_nowait(None)

    async def next(self, silence: float) -> str | None:
        """The next payload; raises TimeoutError after `silence` seconds without one."""
        async with asyncio.timeout(silence):
            return await self._waiting.get()


class Line:
    """Connections to one database that carry wake-ups and nothing else."""

    def __init__(self, dsn: str, patience: float, *, silence: float = _SILENCE) -> None:
        self._dsn = dsn
        self._patience = patience
        self._silence = silence
        self._speaking = asyncio.Lock()
        self._speaker: _Connection | None = None

    async def server_version(self) -> int:
        """The server's major version. Raises what connecting raises."""
        async with self._speaking:
            return (await self._open_speaker()).get_server_version().major

    async def notify(self, channel: str, payload: str) -> None:
        """Say `payload` on `channel` to whoever listens. Raises Unavailable if the database is away."""
        async with self._speaking:
            try:
                try:
                    await self._say(channel, payload)
                except Exception as error:
                    if self._speaker is None or not faults.is_away(error, closed=self._speaker.is_closed()):
                        raise
                    await self._say(channel, payload)  # the session was ended while it lay idle: once more on a new one
            except Exception as error:
                if faults.is_refusal(error):
                    raise faults.Unavailable(f"the database cannot be reached: {error}") from error
                raise

    async def _say(self, channel: str, payload: str) -> None:
        speaker = await self._open_speaker()
        await speaker.execute("select pg_notify($1, $2)", channel, payload, timeout=self._patience)

    async def _open_speaker(self) -> _Connection:
        if self._speaker is None or self._speaker.is_closed():
            self._speaker = await self._dial()
        return self._speaker

    async def _dial(self) -> _Connection:
        return await asyncpg.connect(
            self._dsn, timeout=self._patience, server_settings={"application_name": "tocsin wake-ups"}
        )

    async def listen(self, channel: str) -> AsyncGenerator[str | None]:
        """Each payload said on `channel`; None at the start, after a reconnection and when too many came at once."""
        delay = _RECONNECT_FIRST
        while True:
            try:
                listener = await self._dial()
            except Exception as error:
                if not faults.is_refusal(error):
                    raise
                await asyncio.sleep(delay)
                delay = min(delay * 2, _RECONNECT_MOST)
                continue
            heard = _Heard()
            listener.add_termination_listener(heard.end)
            try:
                await listener.add_listener(channel, heard.hear)
                delay = _RECONNECT_FIRST
                yield None
                while not heard.ended.is_set():
                    try:
                        payload = await heard.next(self._silence)
                    except TimeoutError:
                        await listener.fetchval("select 1", timeout=self._patience)
                        continue
                    if not heard.ended.is_set():
                        yield payload
            except Exception as error:
                if not faults.is_refusal(error):
                    raise
            finally:
                listener.terminate()

    async def close(self) -> None:
        """Close the connection that speaks; those that listen are closed by whoever reads them."""
        if self._speaker is not None and not self._speaker.is_closed():
            self._speaker.terminate()
