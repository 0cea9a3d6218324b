"""Between the push service and the browsers that are connected: who is here, and what goes to them.

Takes messages that the service accepted; sends them to the browser if it is here, else they wait in `browsers` until
it comes or their time is over. On demand flips one bit of the next message, which a browser must then refuse.
"""

import time
from typing import Any, Protocol

from tocsin.lab.accounts import b64url
from tocsin.lab.webpush.browsers import Browsers, Stored

ANY = "*"


class Socket(Protocol):
    """A browser's connection, as the hub sees it."""

    def tell(self, frame: dict[str, Any]) -> None:
        """Send a frame."""
        ...

    def leave(self) -> None:
        """Close it: the browser has come back on another."""
        ...


class Hub:
    """The meeting place. `endpoints` is the URL below which subscriptions of browsers lie."""

    def __init__(self, browsers: Browsers, endpoints: str) -> None:
        self.browsers = browsers
        self.endpoints = endpoints
        self._here: dict[str, Socket] = {}
        self._flips: list[str] = []

    @property
    def here(self) -> int:
        """How many browsers are connected."""
        return len(self._here)

    def come(self, uaid: str, socket: Socket) -> None:
        """A browser is here: whatever waited for it is sent."""
        before = self._here.get(uaid)
        self._here[uaid] = socket
        if before is not None and before is not socket:
            before.leave()
        for message in self.browsers.waiting(uaid, time.time()):
            socket.tell(self._frame(message))

    def go(self, uaid: str, socket: Socket) -> None:
        """The browser is away, unless it has come back on another socket meanwhile."""
        if self._here.get(uaid) is socket:
            del self._here[uaid]

    def deliver(self, message: Stored) -> None:
        """Pass a message on, or keep it; with a time to live of 0 it is for a browser that is here now, or for none."""
        socket = self._here.get(message.uaid)
        if socket is None and message.ttl == 0:
            return
        self.browsers.store(message)
        if socket is not None:
            socket.tell(self._frame(message))

    def flip(self, channel: str | None) -> None:
        """Flip one bit of the next message to this channel (or to any)."""
        self._flips.append(channel or ANY)

    def _frame(self, message: Stored) -> dict[str, Any]:
        frame: dict[str, Any] = {
            "messageType": "notification",
            "channelID": message.channel,
            "version": message.id,
            "ttl": message.ttl,
        }
        body = message.body
        if not body:
            return frame
        for wanted in (message.channel, ANY):
            if wanted in self._flips:
                self._flips.remove(wanted)
                body = body[:-1] + bytes((body[-1] ^ 1,))
                break
        return {**frame, "data": b64url(body), "headers": {"encoding": "aes128gcm"}}
