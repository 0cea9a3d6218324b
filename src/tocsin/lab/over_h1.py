"""One HTTP/1.1 connection (RFC 9112): takes octets, gives whole requests to the handler, carries out its replies.

Serves the providers over TLS and the control interface in the clear; a WebSocket handshake is handed on to `upgrade`.
Refuses bodies over `BODY_LIMIT` with 413 and what is not HTTP with 400.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

import h11

from tocsin.lab.exchange import BODY_LIMIT, Answer, Ending, Handler, Reply, Request, split_target
from tocsin.lab.timers import Timers

Upgrade = Callable[[asyncio.Transport, Sequence[tuple[bytes, bytes]], str, bytes], None]
"""Takes the transport, the handshake's headers and path, and the octets that came after it."""


class OverH1(asyncio.Protocol):
    """The connection: one request at a time, kept alive. `settle` is called before any answer can leave."""

    def __init__(
        self,
        name: str,
        handler: Handler,
        settle: Callable[[], None],
        timers: Timers,
        upgrade: Upgrade | None = None,
    ) -> None:
        self._name = name
        self._handler = handler
        self._settle = settle
        self._timers = timers
        self._upgrade = upgrade
        self._transport: asyncio.Transport | None = None
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=65536)
        self._request: h11.Request | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._turn = 0

    # ------------------------------------------------------------------ the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # a uvloop transport is one, but does not say so

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what is left."""
        self._transport = None
        self._turn += 1

    def data_received(self, data: bytes) -> None:
        """Take octets off the wire."""
        self._h11.receive_data(data)
        self._advance()

    def eof_received(self) -> None:
        """The client will send no more; the transport closes."""

    # ------------------------------------------------------------------ what arrives

    def _advance(self) -> None:
        try:
            while self._transport is not None:
                event = self._h11.next_event()
                if event is h11.NEED_DATA:
                    if self._h11.they_are_waiting_for_100_continue:
                        self._send(h11.InformationalResponse(status_code=100, headers=[]))
                    break
                if event is h11.PAUSED:
                    self._transport.pause_reading()
                    break
                if isinstance(event, h11.Request):
                    if self._hand_over(event):
                        return
                    self._request, self._chunks, self._size = event, [], 0
                elif isinstance(event, h11.Data):
                    self._size += len(event.data)
                    if self._size > BODY_LIMIT:
                        self._refuse(413)
                        break
                    self._chunks.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    self._whole()
                elif isinstance(event, h11.ConnectionClosed):
                    self._transport.close()
                    break
        except h11.RemoteProtocolError as fault:
            self._refuse(fault.error_status_hint)
        self._settle()

    def _hand_over(self, event: h11.Request) -> bool:
        wants = any(name == b"upgrade" and value.lower() == b"websocket" for name, value in event.headers)
        if not wants or self._upgrade is None or self._transport is None:
            return False
        transport, self._transport = self._transport, None
        headers = [(bytes(name), bytes(value)) for name, value in event.headers]
        self._upgrade(transport, headers, event.target.decode("latin-1"), self._h11.trailing_data[0])
        return True

    def _whole(self) -> None:
        event = self._request
        assert event is not None
        path, query = split_target(event.target.decode("latin-1"))
        headers = [(bytes(name), bytes(value)) for name, value in event.headers]
        method = event.method.decode("latin-1")
        reply = self._handler(Request(method, path, query, headers, b"".join(self._chunks), self._name, False))
        self._chunks = []
        if reply.ending is not Ending.SILENT:
            self._timers.after(reply.delay, self, self._turn, reply)

    def _refuse(self, status: int) -> None:
        if self._transport is None:
            return
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._send(h11.Response(status_code=status, headers=[("content-length", "0"), ("connection", "close")]))
            self._send(h11.EndOfMessage())
        self._transport.close()

    # ------------------------------------------------------------------ what leaves

    def finish(self, stream: int, reply: Reply) -> None:
        """Carry out the reply to the request of turn `stream`."""
        if self._transport is None or stream != self._turn:
            return
        if reply.ending is not Ending.ANSWERED:
            self._transport.abort()
            return
        assert reply.answer is not None
        self._respond(reply.answer)

    def _respond(self, answer: Answer) -> None:
        assert self._transport is not None
        fields = list(answer.headers)
        if answer.status != 204:
            fields.append((b"content-length", b"%d" % len(answer.body)))
        self._send(h11.Response(status_code=answer.status, headers=fields))
        if answer.body:
            self._send(h11.Data(data=answer.body))
        self._send(h11.EndOfMessage())
        self._turn += 1
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            self._transport.close()
            return
        self._h11.start_next_cycle()
        self._transport.resume_reading()
        if self._h11.trailing_data[0]:
            self._advance()

    def flush(self) -> None:
        """Nothing waits: each answer is written as it is finished."""

    def _send(self, event: h11.Event) -> None:
        octets = self._h11.send(event)
        if octets and self._transport is not None:
            self._transport.write(octets)
