"""One connection to a peer: streams are opened on it, and what becomes of them is told by callback.

In: flights to open, octets from the peer. Out: endings, flights that come back because the peer cannot have acted on
them, one write a loop turn. Refuses peers that did not agree to `h2`, and stops with those that break HTTP/2 or do not
read. There is no task, future or timer for a call; one future tells when the peer's SETTINGS came.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, cast

from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError

from tocsin.wire.bounds import Bounds
from tocsin.wire.endings import Ambiguous, Origin, Unsent
from tocsin.wire.flights import Flight
from tocsin.wire.multiplexer import Multiplexer
from tocsin.wire.tls import NoHttp2, no_http2

_BODILESS: Final = (b"GET", b"HEAD", b"DELETE")


class Owner(Protocol):
    """Who a connection reports to."""

    def pump(self) -> None:
        """Streams have become free, or are wanted."""
        ...

    def proved(self) -> None:
        """The first answer of a connection came."""
        ...

    def come_back(self, flights: Sequence[Flight], why: Unsent) -> None:
        """The peer cannot have acted on these: they may go another way. They are in the order they were sent."""
        ...

    def retired(self, connection: "Connection", why: Unsent) -> None:
        """The connection takes no more streams; those open go on."""
        ...

    def gone(self, connection: "Connection", why: Unsent) -> None:
        """The connection is closed, and all its flights were told."""
        ...


class Connection(asyncio.Protocol):
    """A connection of one origin. `ready` is done when the peer's SETTINGS came, or fails with what went wrong."""

    def __init__(self, origin: Origin, owner: Owner, bounds: Bounds) -> None:
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self._owner = owner
        self._bounds = bounds
        self._name = origin.authority
        self._fixed = ((b":scheme", b"https"), (b":authority", origin.authority.encode("ascii")))
        self._h2 = Multiplexer(bounds)
        self._transport: asyncio.Transport | None = None
        self._flights: dict[int, Flight] = {}
        self._fresh: list[Flight] = []
        self._blocked: dict[int, Flight] = {}
        self._next_id = 1
        self._most = 0
        self._owed = 0
        self._flush_due = False
        self._paused = False
        self._failure: str | None = None
        self._goaway: str | None = None
        self._faulted = False
        self._opened = 0
        self._answers = 0
        self._made = self._loop.time()
        self._heard = self._made
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self.draining = False
        self.idle_since = self._made
        self._on: dict[type, Callable[[Any], None]] = {
            ResponseReceived: self._on_response,
            DataReceived: self._on_data,
            StreamEnded: self._on_end,
            StreamReset: self._on_reset,
            WindowUpdated: self._on_window,
            RemoteSettingsChanged: self._on_settings,
            ConnectionTerminated: self._on_goaway,
        }

    # ------------------------------------------------------------------ for the pool

    @property
    def most(self) -> int:
        """Streams the peer and the bounds allow at once."""
        return self._most

    @property
    def busy(self) -> int:
        """Streams open now."""
        return len(self._flights)

    @property
    def fruitless(self) -> bool:
        """Whether the peer ended it, or left it dead, before it answered anything: as bad as no connection."""
        used = self._opened > 0 or self._loop.time() - self._made < 1.0
        return self._faulted and not self._answers and used

    def room(self) -> int:
        """How many streams may be opened now; 0 while the peer reads nothing or its window holds bodies back."""
        if self.draining or self._paused or (self._blocked and self._h2.outbound_flow_control_window <= 0):
            return 0
        return self._most - len(self._flights)

    def open(self, flight: Flight) -> None:
        """Open a stream for a flight. Call only if there is `room`. It is written at the end of this loop turn."""
        call = flight.call
        stream_id = self._next_id
        self._next_id += 2
        headers = [(b":method", call.method), *self._fixed, (b":path", call.path), *call.headers]
        size = len(call.body)
        if (size or call.method not in _BODILESS) and not any(name == b"content-length" for name, _ in call.headers):
            headers.append((b"content-length", b"%d" % size))
        flight.connection = self
        flight.stream_id = stream_id
        self._flights[stream_id] = flight
        self._fresh.append(flight)
        self._opened += 1
        self._h2.send_headers(stream_id, headers, end_stream=not size)
        if size:
            flight.rest = memoryview(call.body)
            self._send_body(flight)
        self._flush_soon()
        if self._next_id > self._bounds.highest_stream_id:
            self.retire("all its stream identifiers are used")

    def cancel(self, flight: Flight) -> None:
        """Give up a flight whose time passed: the peer is told, its stream is free again (RFC 9113 section 5.4.2).

        A connection on which nothing came since the flight was submitted takes no further calls, as it may be dead.
        """
        if not flight.written:
            self._flush()
        self._reset(flight, ErrorCodes.CANCEL)
        if self._heard < flight.batch.started:
            self._faulted = True
            self.retire(f"nothing was heard from {self._name} for a whole deadline")
        self._close_if_spent()

    def retire(self, why: str) -> None:
        """Take no more streams; close when the last one ended."""
        if not self.draining:
            self.draining = True
            self._owner.retired(self, Unsent("no_connection", why))
            self._close_if_spent()

    def close(self) -> None:
        """Say GOAWAY and close. What is in flight ends ambiguous, what is unwritten comes back."""
        self.draining = True
        self._failure = self._failure or "the connection was closed here"
        if self._transport is not None and not self._transport.is_closing():
            self._h2.close_connection()
            self._transport.write(self._h2.data_to_send())
            self._transport.close()

    def abort(self, why: str) -> None:
        """Drop the connection without a word."""
        self.draining = True
        self._failure = self._failure or why
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The TLS handshake is done: greet a peer that speaks `h2`, leave any other."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's TLS transport is one by its methods only
        tls = transport.get_extra_info("ssl_object")
        if tls is None or tls.selected_alpn_protocol() != "h2":
            self._fail_ready(NoHttp2(no_http2(self._name)))
            self._transport.abort()
            return
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Take octets of the peer."""
        self._heard = self._loop.time()
        try:
            events = self._h2.receive_data(data)
        except ProtocolError as broken:
            self._flush()
            self._faulted = True
            self.abort(f"{self._name} broke HTTP/2: {broken}")
            return
        on = self._on
        for event in events:
            handle = on.get(type(event))
            if handle is not None:
                handle(event)
        if self._owed >= self._bounds.connection_window // 4:
            self._h2.increment_flow_control_window(self._owed)
            self._owed = 0
        self._owner.pump()
        self._flush()
        self._close_if_spent()

    def pause_writing(self) -> None:
        """The peer does not read: open no more streams."""
        self._paused = True

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._paused = False
        self._owner.pump()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: what was written is ambiguous, the rest comes back."""
        self._faulted = self._faulted or self._failure is None
        detail = self._failure or (f"the connection to {self._name} was lost" + (f": {exc}" if exc else ""))
        self._fail_ready(exc or ConnectionResetError(detail))
        self.draining = True
        flights = list(self._flights.values())
        self._flights.clear()
        self._fresh.clear()
        self._blocked.clear()
        for flight in flights:
            if flight.written:
                partial = f" after status {flight.status}" if flight.status else ""
                flight.end(Ambiguous("cut_off", detail + partial))
        why = Unsent("goaway" if self._goaway else "no_connection", self._goaway or detail)
        self._owner.come_back([flight for flight in flights if not flight.ended], why)
        self._owner.gone(self, why)
        self.lost.set_result(None)

    # ------------------------------------------------------------------ events

    def _on_response(self, event: ResponseReceived) -> None:
        flight = self._flights.get(event.stream_id)
        if flight is None:
            return
        status = next((value for name, value in event.headers if name == b":status"), b"")
        if len(status) != 3 or not status.isdigit():
            self._reset(flight, ErrorCodes.PROTOCOL_ERROR)
            flight.end(Ambiguous("cut_off", "the answer had no valid status"))
            return
        flight.status = int(status)
        flight.headers = [field for field in event.headers if field[0][:1] != b":"]

    def _on_data(self, event: DataReceived) -> None:
        size = event.flow_controlled_length
        self._owed += size
        flight = self._flights.get(event.stream_id)
        if flight is None:
            return
        data = event.data
        flight.body = flight.body + data if flight.body else data
        if len(flight.body) > self._bounds.body:
            flight.body = flight.body[: self._bounds.body]
            self._reset(flight, ErrorCodes.CANCEL)
            self._proved()
            flight.answered()
        else:
            flight.uncredited += size
            if flight.uncredited >= self._bounds.stream_window // 2 and self._h2.takes(event.stream_id):
                self._h2.increment_flow_control_window(flight.uncredited, event.stream_id)
                flight.uncredited = 0

    def _on_end(self, event: StreamEnded) -> None:
        flight = self._flights.get(event.stream_id)
        if flight is None:
            return
        if flight.rest is not None:
            # The peer answered without waiting for the whole body (RFC 9113 section 8.1).
            self._reset(flight, ErrorCodes.NO_ERROR)
        else:
            self._forget(flight)
        self._proved()
        flight.answered()

    def _on_reset(self, event: StreamReset) -> None:
        flight = self._flights.get(event.stream_id)
        if flight is None:
            return
        self._forget(flight)
        if event.remote_reset and event.error_code == ErrorCodes.REFUSED_STREAM:
            flight.refusals += 1
            self._owner.come_back([flight], Unsent("refused_stream", f"{self._name} refused the stream"))
            return
        code = event.error_code
        name = code.name if isinstance(code, ErrorCodes) else f"error {code}"
        partial = f" after status {flight.status}" if flight.status else ""
        flight.end(Ambiguous("cut_off", f"{self._name} reset the stream ({name}){partial}"))

    def _on_window(self, _event: WindowUpdated) -> None:
        for flight in list(self._blocked.values()):
            if self._h2.outbound_flow_control_window <= 0:
                break
            self._send_body(flight)

    def _on_settings(self, _event: RemoteSettingsChanged) -> None:
        self._most = min(self._h2.remote_settings.max_concurrent_streams, self._bounds.streams_per_connection)
        if not self.ready.done():
            self.ready.set_result(None)
        for flight in list(self._blocked.values()):
            self._send_body(flight)

    def _on_goaway(self, event: ConnectionTerminated) -> None:
        code = event.error_code
        name = code.name if isinstance(code, ErrorCodes) else f"error {code}"
        said = (event.additional_data or b"")[:100].decode("ascii", "replace")
        said = "".join(letter for letter in said if letter.isprintable())
        self._goaway = f"{self._name} said GOAWAY ({name})" + (f": {said}" if said else "")
        last = event.last_stream_id or 0
        beyond = [flight for stream_id, flight in self._flights.items() if stream_id > last]
        for flight in beyond:
            self._reset(flight, ErrorCodes.CANCEL)
        why = Unsent("goaway", self._goaway)
        self._owner.come_back(beyond, why)
        if not self.draining:
            self.draining = True
            self._faulted = not self._flights
            self._owner.retired(self, why)

    # ------------------------------------------------------------------ inside

    def _send_body(self, flight: Flight) -> None:
        """Send what the windows and the frame size let through of a body; the rest waits for WINDOW_UPDATE."""
        assert flight.rest is not None
        h2, stream_id, rest = self._h2, flight.stream_id, flight.rest
        if not h2.takes(stream_id):
            return  # the peer reset it; that event is next
        while True:
            size = min(h2.local_flow_control_window(stream_id), h2.max_outbound_frame_size)
            if len(rest) <= size:
                h2.send_data(stream_id, rest, end_stream=True)
                flight.rest = None
                self._blocked.pop(stream_id, None)
                return
            if size <= 0:
                flight.rest = rest
                self._blocked[stream_id] = flight
                return
            h2.send_data(stream_id, rest[:size])
            rest = rest[size:]

    def _reset(self, flight: Flight, code: ErrorCodes) -> None:
        # The peer may have closed the stream, or we the connection, in the same octets that led here.
        with suppress(ProtocolError):
            self._h2.reset_stream(flight.stream_id, code)
        self._forget(flight)
        self._flush_soon()

    def _forget(self, flight: Flight) -> None:
        del self._flights[flight.stream_id]
        self._blocked.pop(flight.stream_id, None)
        self._h2.forget(flight.stream_id)
        flight.connection = None
        if not self._flights:
            self.idle_since = self._loop.time()

    def _proved(self) -> None:
        self._answers += 1
        if self._answers == 1:
            self._owner.proved()

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Write all that gathered in this loop turn. From here on the fresh flights count as written."""
        self._flush_due = False
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        data = self._h2.data_to_send()
        if data:
            for flight in self._fresh:
                if flight.connection is self:
                    flight.written = True
            self._fresh.clear()
            transport.write(data)
            if self._paused and transport.get_write_buffer_size() > self._bounds.unread:
                self._faulted = True
                self.abort(f"{self._name} does not read what it is sent")

    def _close_if_spent(self) -> None:
        if self.draining and not self._flights:
            self.close()

    def _fail_ready(self, failure: BaseException) -> None:
        if not self.ready.done():
            self.ready.set_exception(failure)
            self.ready.exception()  # retrieved: whoever dialled may have stopped waiting
