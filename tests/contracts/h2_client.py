"""A raw HTTP/2 client for tests: one TLS connection, every frame's end visible. Built on the h2 library alone."""

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings


@dataclass
class Outcome:
    """How one request ended: `status` if answered, `reset` with its error code, or `lost` with the connection."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    reset: int | None = None
    lost: bool = False


class H2Client:
    """One connection. `goaway` is the last stream the peer named, if it went away."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, window: int | None) -> None:
        self._reader, self._writer = reader, writer
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        if window is not None:
            settings = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window}
            self._h2.local_settings = h2.settings.Settings(client=True, initial_values=settings)
        self._window = window
        self._octets = b""
        self._waiting: dict[int, tuple[Outcome, asyncio.Future[Outcome]]] = {}
        self.goaway: int | None = None
        self.settings = asyncio.get_running_loop().create_future()
        self.closed = asyncio.get_running_loop().create_future()
        self._h2.initiate_connection()
        self._write()
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, port: int, context: ssl.SSLContext, window: int | None = None) -> "H2Client":
        reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
        client = cls(reader, writer, window)
        await client.settings
        return client

    def send(
        self, method: str, path: str, headers: list[tuple[str, str]], body: bytes = b"", *, end: bool = True
    ) -> "asyncio.Future[Outcome]":
        """Send a request (whole, unless `end` is false); the future gives how it ended."""
        stream = self._h2.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path), *headers]
        self._h2.send_headers(stream, fields, end_stream=not body and end)
        for start in range(0, len(body), 16384):
            part = body[start : start + 16384]
            self._h2.send_data(stream, part, end_stream=end and start + 16384 >= len(body))
        self._write()
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[stream] = (Outcome(), future)
        return future

    async def request(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes = b"") -> Outcome:
        """Send a request and wait for its end, at most 10 s."""
        return await asyncio.wait_for(self.send(method, path, headers, body), 10)

    def reset(self, stream: int) -> None:
        """Give a stream up."""
        self._h2.reset_stream(stream, 8)
        self._waiting.pop(stream, None)
        self._write()

    def raw(self, octets: bytes) -> None:
        """Write octets past the library."""
        self._writer.write(octets)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._writer.transport.abort()  # a close would wait for the goodbye of a peer that may be gone
        await asyncio.sleep(0)

    def _write(self) -> None:
        self._writer.write(self._h2.data_to_send())

    async def _read(self) -> None:
        try:
            while octets := await self._reader.read(65536):
                for event in self._h2.receive_data(self._without_goaway(octets)):
                    self._take(event)
                self._write()
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            for outcome, future in self._waiting.values():
                outcome.lost = True
                if not future.done():
                    future.set_result(outcome)
            self._waiting.clear()
            if not self.closed.done():
                self.closed.set_result(None)

    def _without_goaway(self, octets: bytes) -> bytes:
        """Whole frames, less a GOAWAY: once it has seen one, the h2 library takes no more of the earlier streams."""
        self._octets += octets
        frames = []
        while len(self._octets) >= 9 and len(self._octets) >= (end := 9 + int.from_bytes(self._octets[:3], "big")):
            frame, self._octets = self._octets[:end], self._octets[end:]
            if frame[3] == 7:
                self.goaway = int.from_bytes(frame[9:13], "big")
            else:
                frames.append(frame)
        return b"".join(frames)

    def ignore_the_limit(self) -> None:
        """Open more streams than the server announced."""
        self._h2.remote_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
        self._h2.remote_settings.acknowledge()

    def _take(self, event: Any) -> None:
        if isinstance(event, h2.events.RemoteSettingsChanged) and not self.settings.done():
            self.settings.set_result({int(code): change.new_value for code, change in event.changed_settings.items()})
        waiting = self._waiting.get(getattr(event, "stream_id", 0) or 0)
        if waiting is None:
            return
        outcome = waiting[0]
        if isinstance(event, h2.events.ResponseReceived):
            fields = {str(name): str(value) for name, value in event.headers}
            outcome.status, outcome.headers = int(fields.pop(":status")), fields
        elif isinstance(event, h2.events.DataReceived):
            outcome.body += event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            outcome.reset = int(event.error_code)
            self._done(event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self._done(event.stream_id)

    def _done(self, stream: int) -> None:
        outcome, future = self._waiting.pop(stream)
        if not future.done():
            future.set_result(outcome)
