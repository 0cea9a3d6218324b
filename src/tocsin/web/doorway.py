"""The doorway, as ASGI: the id of a request, the cap on its body, the headers of its answer, its line in the log.

In: every request before it is routed. Out: its answer, or a problem when something of ours broke. The log says
which operation, who, how long and what came of it; never an id of a device or user, a body or a key.
"""

import asyncio
import contextlib
import time
from typing import Any, Final

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tocsin.terms import ids
from tocsin.terms.errors import Refused, fault
from tocsin.web.problems import problem, refused_problem

HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-frame-options", b"DENY"),
)
"""Headers of every answer that does not set its own."""

DRAINED: Final = 16 * 1024 * 1024
"""Octets of a body that is over the cap which are read and thrown away, so that its caller gets to read why."""
DRAINED_WITHIN: Final = 10.0
"""Seconds."""

log = structlog.get_logger("tocsin.web")


class Doorway:
    """The outermost application."""

    def __init__(self, app: ASGIApp, *, body_limit: int) -> None:
        self._app = app
        self._body_limit = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await _Passage(scope, receive, send, self._body_limit).run(self._app)


class _Passage:
    """One request on its way through."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, body_limit: int) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._left = self._limit = body_limit
        self._request_id = ids.show(ids.REQUEST, ids.new())
        self._status = 0
        self._began = time.perf_counter()
        scope["tocsin.request_id"] = self._request_id

    async def run(self, app: ASGIApp) -> None:
        try:
            if "\0" in self._scope["path"] or b"%00" in self._scope["query_string"]:
                await self._refuse(Refused("invalid_parameter", "The path and the query may not contain U+0000."))
            else:
                await app(self._scope, self.receive, self.send)
        except ClientDisconnect:
            self._status = self._status or 499  # the caller left before the answer: nobody to tell
        except Exception:
            log.exception("request failed", request_id=self._request_id, operation=self._operation())
            if self._status:
                raise  # half an answer is out: the server cuts the connection, so that nobody takes it for a whole one
            await problem(fault("internal"), self._request_id, "The request could not be done.")(
                self._scope, self._receive, self.send
            )
        finally:
            self._write_log()

    async def _refuse(self, refused: Refused) -> None:
        await refused_problem(refused, self._request_id)(self._scope, self._receive, self.send)

    async def receive(self) -> Message:
        """The next piece of the body; raises Refused (too_large), by the declared length before a piece is read."""
        if getattr(self._scope.get("endpoint"), "streams", False):
            return await self._receive()
        declared = next((value for name, value in self._scope["headers"] if name == b"content-length"), b"0")
        if int(declared) > self._limit:
            # a caller that waits to be asked for the body (RFC 9110 section 10.1.1) is not asked
            raise await self._too_large(more=not any(name == b"expect" for name, _ in self._scope["headers"]))
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise await self._too_large(more=message.get("more_body", False))
        return message

    async def _too_large(self, *, more: bool) -> Refused:
        """The refusal, once the caller has sent all: one that still sends would not read the answer."""
        left = DRAINED
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAINED_WITHIN):
                while more and left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    more = message.get("more_body", False)
        return Refused("too_large", f"The body is over {self._limit} octets.")

    async def send(self, message: Message) -> None:
        """Send a piece of the answer, its headers completed."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = list(message["headers"])
            there = {name for name, _ in headers}
            headers += [header for header in HEADERS if header[0] not in there]
            if getattr(self._scope.get("endpoint"), "open_to_pages", False):
                headers.append((b"access-control-allow-origin", b"*"))
            headers.append((b"request-id", self._request_id.encode()))
            message = {**message, "headers": headers}
        await self._send(message)

    def _operation(self) -> str:
        route = self._scope.get("route")
        return f"{self._scope['method']} {getattr(route, 'path_format', '-')}"

    def _write_log(self) -> None:
        facts: dict[str, Any] = {
            "request_id": self._request_id,
            "operation": self._operation(),
            "status": self._status,
            "ms": round((time.perf_counter() - self._began) * 1000, 1),
        }
        caller = self._scope.get("tocsin.caller")
        if caller is not None:
            facts |= {"app": ids.show(ids.APP, caller.app_id), "key": caller.key_id}
        log.info("request", **facts)
