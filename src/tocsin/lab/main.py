"""The lab as a process: two ports, one directory, until SIGTERM or SIGINT.

Takes a directory and ports (0: a free one), writes `lab.json` with where everything answers, and exits 0 when told to
end. Refuses a directory that another lab holds and a port that is taken, in words.
"""

import asyncio
import fcntl
import os
import signal
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import orjson

from tocsin.lab.ca import tls_context
from tocsin.lab.control import Control
from tocsin.lab.exchange import Handler
from tocsin.lab.over_h1 import OverH1
from tocsin.lab.over_h2 import OverH2
from tocsin.lab.state import State, open_state
from tocsin.lab.webpush.socket import BrowserSocket

Ready = Callable[[dict[str, Any]], None]
"""Is told what `lab.json` holds, once both ports listen."""


class CannotStart(RuntimeError):
    """The lab cannot start here; the text says why and what helps."""


class _Door(asyncio.Protocol):
    """A new TLS connection: HTTP/2 or HTTP/1.1, as ALPN settled it (RFC 7301)."""

    def __init__(self, state: State) -> None:
        self._state = state

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand the connection to the protocol that was agreed on."""
        tls = transport.get_extra_info("ssl_object")
        state, flush = self._state, self._state.desk.ledger.flush
        kind = OverH2 if tls is not None and tls.selected_alpn_protocol() == "h2" else OverH1
        inner = kind(state.next_connection(), state.receive, flush, state.timers)
        cast("asyncio.Transport", transport).set_protocol(inner)
        inner.connection_made(transport)


def _lock(directory: Path) -> int:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(directory / "lab.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise CannotStart(f"another lab is running in {directory}; end it, or give this one its own --dir") from None
    return descriptor


async def _listen(
    factory: Callable[[], asyncio.Protocol], host: str, port: int, context: ssl.SSLContext | None
) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(factory, host, port, ssl=context, backlog=1024)
    except OSError as fault:
        raise CannotStart(f"cannot listen on {host}:{port}: {fault.strerror or fault}; choose another port") from fault


def _told(state: State) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        **state.urls(),
        "ca": str((state.directory / "ca.pem").resolve()),
        "ledger": str((state.directory / "ledger.jsonl").resolve()),
    }


async def run(
    directory: Path, port: int, control_port: int, ready: Ready | None = None, *, host: str = "127.0.0.1"
) -> None:
    """Serve until cancelled. Raises CannotStart."""
    lock = _lock(directory)
    try:
        await _serve(directory, host, port, control_port, ready)
    finally:
        os.close(lock)


async def _serve(directory: Path, host: str, port: int, control_port: int, ready: Ready | None) -> None:
    context = tls_context(directory)
    try:
        state = open_state(directory, asyncio.get_running_loop())
    except ValueError as fault:
        raise CannotStart(str(fault)) from fault
    control: Handler = Control(state).receive

    def control_connection() -> asyncio.Protocol:
        socket = BrowserSocket(state.hub)
        return OverH1("control", control, state.desk.ledger.flush, state.timers, socket.take_over)

    servers: list[asyncio.Server] = []
    try:
        servers.append(await _listen(lambda: _Door(state), host, port, context))
        servers.append(await _listen(control_connection, host, control_port, None))
        listening = [server.sockets[0].getsockname()[1] for server in servers]
        shown = "127.0.0.1" if host in ("0.0.0.0", "127.0.0.1") else host  # noqa: S104 - compared, not bound
        state.listens(listening[0], f"http://{shown}:{listening[1]}")
        told = _told(state)
        beside = directory / "lab.json.new"
        beside.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))
        beside.replace(directory / "lab.json")
        if ready is not None:
            ready(told)
        await asyncio.get_running_loop().create_future()
    finally:
        for server in servers:
            server.close()
        state.close()


def serve(directory: Path, port: int, control_port: int, host: str = "127.0.0.1", ready: Ready | None = None) -> None:
    """Run the lab until SIGTERM or SIGINT, then return. Raises CannotStart."""

    async def until_told() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(run(directory, port, control_port, ready, host=host))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            return

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(until_told())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop where there is one, else asyncio's own."""
    if os.name == "nt":
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop
