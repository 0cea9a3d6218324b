"""`tocsin lab`: the simulated providers as a process of their own, over TLS with an authority of their own."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tocsin.cli import show
from tocsin.cli.exits import Exit, Stop


def lab(
    dir: Annotated[Path, typer.Option(help="Where its authority, its accounts and its ledger are kept.")],  # noqa: A002
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the providers (TLS); 0: a free one.")] = 9443,
    control_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of its control API and of the browser's WebSocket; 0: free.")
    ] = 9480,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    json: show.Json = False,
) -> None:
    """Run the lab: FCM, its OAuth and Web Push, simulated; what a test app reaches instead of the world."""
    from tocsin.lab import CannotStart, serve

    def ready(told: dict[str, Any]) -> None:
        show.result(
            told, lambda: show.line(f"The lab answers at {told['origin']}; control it at {told['control']}/lab")
        )

    try:
        serve(dir, port, control_port, host, ready)
    except CannotStart as fault:
        raise Stop(Exit.FAILED, str(fault)) from None
