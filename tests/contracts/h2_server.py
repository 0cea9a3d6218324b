"""A scriptable HTTP/2 server: a handler says of each whole request what happens to it.

It keeps what it acted on (answered, cut after reading, or left in silence), so that a test can hold it against what a
client reports. It is written on `h2` and shares nothing with the engine.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from h2.errors import ErrorCodes

Pairs = Sequence[tuple[bytes, bytes]]


@dataclass
class Request:
    """A request that arrived whole."""

    connection: int
    stream: int
    headers: dict[bytes, bytes]
    body: bytes
    repeats: dict[bytes, list[bytes]] = field(default_factory=dict)

    @property
    def path(self) -> bytes:
        return self.headers[b":path"]


@dataclass
class Answer:
    """Answer after `after` seconds; `early` are 1xx statuses sent first; `pad` pads every DATA frame."""

    status: int = 200
    headers: Pairs = ()
    body: bytes = b""
    after: float = 0.0
    early: Sequence[int] = ()
    trailers: Pairs = ()
    pad: int | None = None
    then_reset: bool = False


class Silence:
    """Never answer."""


class Cut:
    """Drop the whole connection; `half` sends the headers of an answer first."""

    def __init__(self, half: bool = False) -> None:
        self.half = half


@dataclass
class Reset:
    """RST_STREAM with a code. REFUSED_STREAM means that the request was not acted on."""

    code: int
    half: bool = False


@dataclass
class Raw:
    """Write these octets to the connection."""

    octets: bytes


Reaction = Answer | Silence | Cut | Reset | Raw
Handler = Callable[[Request], Reaction]


class H2Server:
    """`async with H2Server(context, handler) as server:` listens on 127.0.0.1 at `server.port`.

    `settings` are announced at the start. `goaway_after` ends each connection by GOAWAY after so many requests; the
    streams beyond are ignored; `graceful` announces it first as RFC 9113 section 6.8 advises. `window` False withholds
    all credit after the initial windows. `mute` sends no SETTINGS.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        handler: Handler = lambda _: Answer(),
        *,
        settings: dict[h2.settings.SettingCodes, int] | None = None,
        goaway_after: int | None = None,
        graceful: bool = False,
        window: bool = True,
        mute: bool = False,
        on_open: Callable[["Session"], None] = lambda _: None,
    ) -> None:
        self.context = context
        self.handler = handler
        self.settings = settings or {}
        self.goaway_after = goaway_after
        self.graceful = graceful
        self.window = window
        self.mute = mute
        self.on_open = on_open
        self.sessions: list[Session] = []
        self.acted: list[Request] = []
        self.refused: list[Request] = []
        self.resets: list[tuple[int, int]] = []
        self.port = 0

    async def __aenter__(self) -> "H2Server":
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Session(self), "127.0.0.1", self.port, ssl=self.context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for session in self.sessions:
            session.abort()
        await asyncio.sleep(0)

    @property
    def open_sessions(self) -> int:
        return sum(not session.closed for session in self.sessions)

    @property
    def most_streams(self) -> int:
        """The most streams that were open at once on one connection."""
        return max((session.most for session in self.sessions), default=0)


class Session(asyncio.Protocol):
    """One connection of the server."""

    def __init__(self, server: H2Server) -> None:
        self.server = server
        self.number = -1
        self.closed = False
        self.most = 0
        self.seen = 0
        self.said_goaway: int | None = None
        self.pings = 0
        self.requests: dict[int, tuple[Pairs, bytearray]] = {}
        self.pending: dict[int, tuple[bytes, Answer]] = {}
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.number = len(self.server.sessions)
        self.server.sessions.append(self)
        if self.server.mute:
            return
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=dict(self.server.settings))
        self.h2.initiate_connection()
        self.server.on_open(self)
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True

    def abort(self) -> None:
        if not self.closed:
            self.transport.abort()

    def flush(self) -> None:
        if not self.transport.is_closing():
            data = self.h2.data_to_send()
            if data:
                self.transport.write(data)

    def goaway(self, last: int, code: int = 0, text: bytes | None = None) -> None:
        """Say GOAWAY and go on working."""
        self.h2.close_connection(code, text, last_stream_id=last)
        self.h2.state_machine.state = h2.connection.ConnectionState.SERVER_OPEN
        self.flush()

    def data_received(self, data: bytes) -> None:
        if self.server.mute:
            return
        try:
            events = self.h2.receive_data(data)
        except h2.exceptions.ProtocolError:
            self.flush()
            self.transport.close()
            return
        for event in events:
            self.take(event)
            if self.transport.is_closing():
                return
        self.flush()

    def take(self, event: Any) -> None:
        match event:
            case h2.events.RequestReceived():
                self.requests[event.stream_id] = (event.headers, bytearray())
                self.most = max(self.most, self.h2.open_inbound_streams)
            case h2.events.DataReceived():
                if event.stream_id in self.requests:
                    self.requests[event.stream_id][1].extend(event.data)
                if self.server.window:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                self.whole(event.stream_id)
            case h2.events.StreamReset():
                self.server.resets.append((event.stream_id, int(event.error_code)))
                self.requests.pop(event.stream_id, None)
                self.pending.pop(event.stream_id, None)
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                for stream in list(self.pending):
                    self.push_body(stream)
            case h2.events.PingAckReceived():
                self.pings += 1

    def whole(self, stream: int) -> None:
        headers, body = self.requests.pop(stream, ((), bytearray()))
        if not headers or (self.said_goaway is not None and stream > self.said_goaway):
            return
        repeats: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            repeats.setdefault(name, []).append(value)
        request = Request(self.number, stream, dict(headers), bytes(body), repeats)
        self.seen += 1
        reaction = self.server.handler(request)
        not_done = isinstance(reaction, Reset) and reaction.code == ErrorCodes.REFUSED_STREAM
        (self.server.refused if not_done else self.server.acted).append(request)
        self.react(stream, reaction)
        if self.seen == self.server.goaway_after and not self.transport.is_closing():
            if self.server.graceful:
                self.goaway(2**31 - 1)
            self.said_goaway = stream
            self.goaway(stream, text=b"enough for one connection")

    def react(self, stream: int, reaction: Reaction) -> None:
        match reaction:
            case Answer(after=after) if after:
                asyncio.get_running_loop().call_later(after, self.answer, stream, reaction)
            case Answer():
                self.answer(stream, reaction)
            case Cut(half=half):
                if half:
                    self.h2.send_headers(stream, [(b":status", b"200")])
                    self.flush()
                    self.transport.close()
                else:
                    self.transport.abort()
            case Reset(code=code, half=half):
                if half:
                    self.h2.send_headers(stream, [(b":status", b"503")])
                self.h2.reset_stream(stream, code)
            case Raw(octets=octets):
                self.flush()
                self.transport.write(octets)
            case Silence():
                pass

    def answer(self, stream: int, answer: Answer) -> None:
        if self.closed or self.transport.is_closing():
            return
        try:
            for status in answer.early:
                self.h2.send_headers(stream, [(b":status", b"%d" % status)])
            bare = not answer.body and not answer.trailers
            self.h2.send_headers(stream, [(b":status", b"%d" % answer.status), *answer.headers], end_stream=bare)
            if not bare:
                self.pending[stream] = (answer.body, answer)
                self.push_body(stream)
            elif answer.then_reset:
                self.send_late_reset(stream)
        except h2.exceptions.ProtocolError:
            return  # the client gave the stream up meanwhile
        self.flush()

    def push_body(self, stream: int) -> None:
        """Send as much of the body as the client's windows allow."""
        body, answer = self.pending[stream]
        overhead = 0 if answer.pad is None else answer.pad + 1
        try:
            while True:
                room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size) - overhead
                last = len(body) <= room
                if not last and room <= 0:
                    break
                part, body = body[: max(0, room)], body[max(0, room) :]
                self.h2.send_data(stream, part, end_stream=last and not answer.trailers, pad_length=answer.pad)
                if last:
                    if answer.trailers:
                        self.h2.send_headers(stream, list(answer.trailers), end_stream=True)
                    del self.pending[stream]
                    if answer.then_reset:
                        self.send_late_reset(stream)
                    return
        except h2.exceptions.ProtocolError:
            self.pending.pop(stream, None)
            return
        self.pending[stream] = (body, answer)
        self.flush()

    def send_late_reset(self, stream: int) -> None:
        """RST_STREAM(NO_ERROR) on a stream that has ended, as some servers do to stop an upload."""
        self.flush()
        self.transport.write(b"\x00\x00\x04\x03\x00" + stream.to_bytes(4, "big") + bytes(4))
