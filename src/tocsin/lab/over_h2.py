"""One HTTP/2 connection (RFC 9113): takes octets, gives whole requests to the handler, carries out its replies.

Announces 100 concurrent streams as FCM does; a stream beyond them is refused with REFUSED_STREAM. Refuses bodies over
`BODY_LIMIT` with 413. A protocol error ends the connection with the GOAWAY that the h2 library prepares.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import cast

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import hyperframe.frame

from tocsin.lab.exchange import BODY_LIMIT, Answer, Ending, Handler, Reply, Request, split_target
from tocsin.lab.timers import Timers

MAX_STREAMS = 100
_STREAM_WINDOW = 1 << 20
_CONNECTION_WINDOW = 1 << 24
_DRAIN_SECONDS = 30.0
_SETTINGS = {
    h2.settings.SettingCodes.HEADER_TABLE_SIZE: 4096,
    h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: _STREAM_WINDOW,
    h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 65536,
}
_CONFIG = h2.config.H2Configuration(
    client_side=False,
    header_encoding=None,
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
)


class OverH2(asyncio.Protocol):
    """The connection. `settle` is called after each read, before any answer to it can leave."""

    def __init__(self, name: str, handler: Handler, settle: Callable[[], None], timers: Timers) -> None:
        self._name = name
        self._handler = handler
        self._settle = settle
        self._timers = timers
        self._transport: asyncio.Transport | None = None
        self._h2 = h2.connection.H2Connection(_CONFIG)
        self._arriving: dict[int, tuple[list[tuple[bytes, bytes]], list[bytes]]] = {}
        self._pending: set[int] = set()
        self._blocked: dict[int, bytes] = {}
        self._unacknowledged = 0
        self._last_taken = 0
        self._last_stream: int | None = None

    # ------------------------------------------------------------------ the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send our SETTINGS in one frame, and open the connection's window wide."""
        self._transport = cast("asyncio.Transport", transport)  # a uvloop transport is one, but does not say so
        # The h2 library would break the connection of a client that opens more streams than announced before it has
        # read the announcement; so the limit is announced here, and enforced by REFUSED_STREAM.
        self._h2.local_settings = h2.settings.Settings(client=False, initial_values=_SETTINGS)
        self._h2.initiate_connection()
        self._h2.clear_outbound_data_buffer()
        hello = hyperframe.frame.SettingsFrame(0)
        hello.settings = {
            **{int(code): value for code, value in _SETTINGS.items()},
            int(h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS): MAX_STREAMS,
        }
        self._transport.write(hello.serialize())
        self._h2.increment_flow_control_window(_CONNECTION_WINDOW)
        self._write()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what is left."""
        self._transport = None
        self._pending.clear()
        self._arriving.clear()
        self._blocked.clear()

    def pause_writing(self) -> None:
        """Read nothing more from a client that does not read."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        if self._transport is not None:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Take octets off the wire."""
        try:
            events = self._h2.receive_data(data)
        except h2.exceptions.ProtocolError:
            self._write()
            if self._transport is not None:
                self._transport.close()
            return
        for event in events:
            kind = type(event)
            if kind is h2.events.DataReceived:
                self._data(event)  # type: ignore[arg-type]
            elif kind is h2.events.RequestReceived:
                self._headers(event)  # type: ignore[arg-type]
            elif kind is h2.events.StreamEnded:
                self._whole(event.stream_id)  # type: ignore[attr-defined]
            elif kind is h2.events.StreamReset:
                self._forget(event.stream_id)  # type: ignore[attr-defined]
            elif kind is h2.events.WindowUpdated or kind is h2.events.RemoteSettingsChanged:
                self._unblock()
            elif kind is h2.events.ConnectionTerminated and self._transport is not None:
                self._transport.close()
        self._settle()
        self._write()

    # ------------------------------------------------------------------ what arrives

    def _headers(self, event: h2.events.RequestReceived) -> None:
        stream = event.stream_id
        if self._last_stream is not None and stream > self._last_stream:
            return
        if len(self._arriving) + len(self._pending) >= MAX_STREAMS:
            self._reset(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
            return
        self._arriving[stream] = (event.headers, [])

    def _data(self, event: h2.events.DataReceived) -> None:
        self._unacknowledged += event.flow_controlled_length
        if self._unacknowledged > _CONNECTION_WINDOW // 2:
            self._h2.increment_flow_control_window(self._unacknowledged)
            self._unacknowledged = 0
        arriving = self._arriving.get(event.stream_id)
        if arriving is None:
            return
        arriving[1].append(event.data)
        if len(arriving[1]) > 1 and sum(map(len, arriving[1])) > BODY_LIMIT:
            del self._arriving[event.stream_id]
            with contextlib.suppress(h2.exceptions.ProtocolError):  # given up in the same read
                self._respond(event.stream_id, Answer(413, (), b""))
            self._reset(event.stream_id, h2.errors.ErrorCodes.NO_ERROR)

    def _whole(self, stream: int) -> None:
        arriving = self._arriving.pop(stream, None)
        if arriving is None:
            return
        fields, chunks = arriving
        method = target = b""
        for name, value in fields:
            if name == b":method":
                method = value
            elif name == b":path":
                target = value
        path, query = split_target(target.decode("latin-1"))
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        reply = self._handler(Request(method.decode("latin-1"), path, query, fields, body, self._name, True))
        if reply.ending is Ending.GOAWAY:
            self._go_away(stream)
            return
        if reply.ending is Ending.REFUSED:
            self._reset(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
            return
        self._pending.add(stream)
        self._last_taken = max(self._last_taken, stream)
        if reply.ending is not Ending.SILENT:
            self._timers.after(reply.delay, self, stream, reply)

    def _reset(self, stream: int, code: h2.errors.ErrorCodes) -> None:
        with contextlib.suppress(h2.exceptions.ProtocolError):  # the client has ended or given up the stream meanwhile
            self._h2.reset_stream(stream, code)

    def _forget(self, stream: int) -> None:
        self._arriving.pop(stream, None)
        self._blocked.pop(stream, None)
        self._pending.discard(stream)
        self._close_if_drained()

    # ------------------------------------------------------------------ what leaves

    def finish(self, stream: int, reply: Reply) -> None:
        """Carry out a reply, unless the client has given the stream up meanwhile."""
        if stream not in self._pending or self._transport is None:
            return
        self._pending.discard(stream)
        if reply.ending is Ending.CUT_CONNECTION:
            self._transport.abort()
        elif reply.ending is Ending.CUT:
            self._reset(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
        else:
            assert reply.answer is not None
            self._respond(stream, reply.answer)

    def flush(self) -> None:
        """Write what was prepared; close a connection that was told to go away and owes nothing more."""
        self._write()
        self._close_if_drained()

    def _respond(self, stream: int, answer: Answer) -> None:
        body = answer.body
        fields = [(b":status", b"%d" % answer.status), *answer.headers]
        if answer.status != 204:
            fields.append((b"content-length", b"%d" % len(body)))
        if not body:
            self._h2.send_headers(stream, fields, end_stream=True)
            return
        self._h2.send_headers(stream, fields)
        self._send_body(stream, body)

    def _send_body(self, stream: int, body: bytes) -> None:
        room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
        while body and room > 0:
            part, body = body[:room], body[room:]
            self._h2.send_data(stream, part, end_stream=not body)
            room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size) if body else 0
        if body:
            self._blocked[stream] = body

    def _unblock(self) -> None:
        waiting, self._blocked = self._blocked, {}
        for stream, body in waiting.items():
            self._send_body(stream, body)

    def _go_away(self, stream: int) -> None:
        if self._transport is None or self._last_stream is not None:
            return
        self._last_stream = self._last_taken
        # The h2 library ends the connection once it has sent a GOAWAY; a graceful one lets the earlier streams finish.
        self._write()
        frame = hyperframe.frame.GoAwayFrame(0, last_stream_id=self._last_stream, error_code=0)
        self._transport.write(frame.serialize())
        if stream < self._last_stream:
            self._reset(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
        for other in [s for s in self._arriving if s > self._last_stream]:
            del self._arriving[other]
        asyncio.get_running_loop().call_later(_DRAIN_SECONDS, self._close)
        self._close_if_drained()

    def _close_if_drained(self) -> None:
        if self._last_stream is not None and not (self._pending or self._arriving or self._blocked):
            self._close()

    def _close(self) -> None:
        if self._transport is not None:
            self._write()
            self._transport.close()

    def _write(self) -> None:
        octets = self._h2.data_to_send()
        if octets and self._transport is not None:
            self._transport.write(octets)
