"""The long-running processes: `serve` (the API), `work` (sends), `keep` (finds what is overdue).

In: settings from the environment. Out: a process that runs until SIGTERM or Ctrl-C and then finishes what it has
begun. Refuses to start on a database that would break a promise; the exit code is 0 after a signal, 1 after a fault.
"""

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tocsin.cli.exits import Exit, Stop
from tocsin.cli.ports import listen
from tocsin.cli.settings import load

if TYPE_CHECKING:
    from tocsin.settings import Settings

GRACE = 20
"""Seconds that open requests get when the API ends."""
AGAIN = 1.0
"""Seconds after which a worker or keeper looks again for a database that is away."""


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [default: TOCSIN_API_HOST].")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on [default: TOCSIN_API_PORT]; 0: a free one.")
    ] = None,
    port_file: Annotated[Path | None, typer.Option(help="Write the port to this file once it listens.")] = None,
    fd: Annotated[int | None, typer.Option(help="Serve on this listening socket, inherited from the parent.")] = None,
) -> None:
    """Run the API."""
    import uvicorn

    settings = _begin()
    from tocsin import wiring

    if fd is not None:
        door = socket.socket(fileno=fd)
    else:
        door = listen(host or settings.api_host, settings.api_port if port is None else port)
    if port_file is not None:
        draft = port_file.with_name(port_file.name + ".new")
        draft.write_text(f"{door.getsockname()[1]}\n", "ascii")
        draft.replace(port_file)
    server = uvicorn.Server(
        uvicorn.Config(
            wiring.create_api(settings),
            loop="uvloop",
            http="httptools",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=GRACE,
        )
    )
    # uvicorn raises the signal again when it has ended, for whoever was there before: that is the ordinary end
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(Exit.OK))
    with contextlib.suppress(SystemExit):  # uvicorn's own exit codes are none of ours
        server.run(sockets=[door])
    if not server.started:
        raise Stop(Exit.FAILED, "the API did not start; the lines above say why.", "Run `tocsin doctor`.")


def work() -> None:
    """Run a worker: it plans, sends and records what came of it."""
    from tocsin import wiring

    _until_signalled(wiring.run_worker, _begin())


def keep() -> None:
    """Run the keeper: it finds overdue work, so that nothing is lost when a process dies. One is active at a time."""
    from tocsin import wiring

    _until_signalled(wiring.run_keeper, _begin())


def _begin() -> "Settings":
    from tocsin.telemetry import logs

    settings = load()
    logs.configure(settings.log_level, settings.log_format)
    return settings


def _until_signalled(run: "Callable[[Settings, asyncio.Event], Awaitable[Any]]", settings: "Settings") -> None:
    """Run a process until a signal asks it to end; it then ends in its own time."""
    import structlog
    import uvloop

    from tocsin.storage import Unavailable

    log = structlog.get_logger(__name__)

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        while not stop.is_set():
            try:
                await run(settings, stop)
            except Unavailable as away:
                log.warning("database.away", reason=str(away), again_in=AGAIN)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), AGAIN)

    with _said(), contextlib.suppress(KeyboardInterrupt):
        uvloop.run(main())


@contextlib.contextmanager
def _said() -> Iterator[None]:
    """What keeps a process from starting, in words and without a trace."""
    from tocsin.ledger.receipts import BadReceiptKey
    from tocsin.storage.roles import UnsafeDatabase
    from tocsin.tenants.vault import BadKeyring
    from tocsin.wiring import Misconfigured

    try:
        yield
    except (Misconfigured, BadKeyring, BadReceiptKey) as wrong:
        raise Stop(Exit.USAGE, str(wrong)) from None
    except UnsafeDatabase as unsafe:
        raise Stop(Exit.FAILED, f"this database would break a promise:\n  {unsafe}", "Run `tocsin doctor`.") from None
