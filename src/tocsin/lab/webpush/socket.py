"""The WebSocket that Firefox speaks to its push service: JSON frames hello, register, unregister, ack, nack, ping.

Takes frames of one browser, answers them, and passes notifications on. Refuses what is not one of these frames by
closing with a policy violation (RFC 6455 section 7.4.1). Frames as in Mozilla's autoconnect protocol.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import orjson
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Message,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from tocsin.lab.webpush.browsers import Taken
from tocsin.lab.webpush.hub import Hub

SUBPROTOCOL = "push-notification"
PATHS = ("/ws", "/")
_FRAME_LIMIT = 65536
_UAID = re.compile(r"[0-9a-f]{32}")
_CHANNEL = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class BrowserSocket(asyncio.Protocol):
    """One browser's connection."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._ws = WSConnection(ConnectionType.SERVER)
        self._transport: asyncio.Transport | None = None
        self._uaid: str | None = None
        self._text = ""

    def take_over(
        self, transport: asyncio.Transport, headers: Sequence[tuple[bytes, bytes]], target: str, rest: bytes
    ) -> None:
        """Go on with a connection whose HTTP handshake has been read; `rest` came after it."""
        self._transport = transport
        transport.set_protocol(self)
        try:
            self._ws.initiate_upgrade_connection(list(headers), target)
        except RemoteProtocolError:
            transport.close()
            return
        self._handle()
        if rest:
            self.data_received(rest)

    def data_received(self, data: bytes) -> None:
        """Take octets off the wire."""
        try:
            self._ws.receive_data(data)
        except RemoteProtocolError as fault:
            if fault.event_hint is not None:
                self._send(fault.event_hint)
            self._close()
            return
        self._handle()

    def connection_lost(self, exc: Exception | None) -> None:
        """The browser is away."""
        self._transport = None
        if self._uaid is not None:
            self._hub.go(self._uaid, self)

    def _handle(self) -> None:
        for event in self._ws.events():
            if isinstance(event, Request):
                self._greet(event)
            elif isinstance(event, TextMessage):
                self._text += event.data
                if len(self._text) > _FRAME_LIMIT:
                    self._violated("the frame is too large")
                elif event.message_finished:
                    text, self._text = self._text, ""
                    self._frame(text)
            elif isinstance(event, Message):
                self._violated("frames are JSON text")
            elif isinstance(event, Ping):
                self._send(event.response())
            elif isinstance(event, CloseConnection):
                self._send(event.response())
                self._close()
            if self._transport is None:
                return

    def _greet(self, request: Request) -> None:
        if request.target.partition("?")[0] not in PATHS:
            self._send(RejectConnection(status_code=404))
            self._close()
            return
        chosen = SUBPROTOCOL if SUBPROTOCOL in request.subprotocols else None
        self._send(AcceptConnection(subprotocol=chosen))

    # ------------------------------------------------------------------ frames

    def _frame(self, text: str) -> None:
        try:
            frame = orjson.loads(text)
        except orjson.JSONDecodeError:
            frame = None
        if not isinstance(frame, dict):
            self._violated("a frame is a JSON object")
            return
        kind = frame.get("messageType")
        if not frame or kind == "ping":
            self.tell({})
        elif kind == "hello":
            self._hello(frame)
        elif self._uaid is None:
            self._violated("hello comes first")
        elif kind in ("register", "unregister"):
            self._subscription(kind, frame, self._uaid)
        elif kind in ("ack", "nack"):
            self._acknowledged(kind, frame, self._uaid)
        elif kind != "broadcast_subscribe":
            self._violated("no such messageType")

    def _hello(self, frame: dict[str, Any]) -> None:
        given = frame.get("uaid")
        known = given if isinstance(given, str) and _UAID.fullmatch(given) else None
        self._uaid = self._hub.browsers.hello(known)
        self.tell({"messageType": "hello", "uaid": self._uaid, "status": 200, "use_webpush": True, "broadcasts": {}})
        self._hub.come(self._uaid, self)

    def _subscription(self, kind: str, frame: dict[str, Any], uaid: str) -> None:
        channel, key = frame.get("channelID"), frame.get("key")
        answer: dict[str, Any] = {"messageType": kind, "channelID": channel}
        if not isinstance(channel, str) or not _CHANNEL.fullmatch(channel) or not isinstance(key, str | None):
            self.tell({**answer, "status": 401})
        elif kind == "unregister":
            self._hub.browsers.unregister(uaid, channel)
            self.tell({**answer, "status": 200})
        else:
            try:
                made = self._hub.browsers.register(uaid, channel, key.rstrip("=") if key else None)
            except Taken:
                self.tell({**answer, "status": 409})
                return
            self.tell({**answer, "status": 200, "pushEndpoint": self._hub.endpoints + made.name})

    def _acknowledged(self, kind: str, frame: dict[str, Any], uaid: str) -> None:
        updates = frame.get("updates") if kind == "ack" else [frame]
        for update in updates if isinstance(updates, list) else []:
            if not isinstance(update, dict) or not isinstance(update.get("version"), str):
                continue
            channel, code = update.get("channelID"), update.get("code")
            self._hub.browsers.acknowledge(
                kind,
                uaid,
                channel if isinstance(channel, str) else None,
                update["version"],
                code if isinstance(code, int) else None,
            )
            if kind == "ack":
                self._hub.browsers.drop(update["version"])

    # ------------------------------------------------------------------ what leaves

    def tell(self, frame: dict[str, Any]) -> None:
        """Send a frame."""
        self._send(TextMessage(data=orjson.dumps(frame).decode()))

    def leave(self) -> None:
        """Close: the browser has come back on another socket."""
        self._send(CloseConnection(code=CloseReason.NORMAL_CLOSURE))
        self._close()

    def _violated(self, why: str) -> None:
        self._send(CloseConnection(code=CloseReason.POLICY_VIOLATION, reason=why))
        self._close()

    def _send(self, event: Event) -> None:
        if self._transport is None:
            return
        try:
            self._transport.write(self._ws.send(event))
        except LocalProtocolError:
            self._close()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None
            if self._uaid is not None:
                self._hub.go(self._uaid, self)
