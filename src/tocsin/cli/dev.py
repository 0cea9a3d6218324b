"""`tocsin dev`: the whole platform on this machine, with nothing to install or configure.

In: a data directory and a port. Out: a running platform and what to type next, until Ctrl-C or SIGTERM.
Refuses a data directory that another one holds and a port that is taken.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tocsin.cli import show
from tocsin.cli.running import data_dir as usual_data_dir

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tocsin.cli.stack import Stack
    from tocsin.cli.state import StateDir

ENDS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end all of it: Ctrl-C, a supervisor's wish, a terminal that was closed."""


def dev(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the API; 0 takes a free one.")] = 8080,
    host: Annotated[str, typer.Option(help="Address the API listens on.")] = "127.0.0.1",
    workers: Annotated[int, typer.Option(min=1, max=32, help="How many workers send.")] = 2,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where state, keys and database are kept [default: .tocsin].")
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Delete all that was kept there, then start.")] = False,
    json: show.Json = False,
) -> None:
    """Run everything here: database, API, workers, keeper, the lab's simulated providers and a demo app.

    While it is ready, what runs is written to dev.json in the data directory; --json also writes it to stdout.
    """
    from tocsin.cli.settings import load
    from tocsin.cli.stack import Choices, Stack
    from tocsin.cli.state import StateDir

    began = time.monotonic()
    state = StateDir(data_dir or usual_data_dir())
    settings = load()
    state.hold()
    try:
        if reset:
            _erase(state)
        state.prepare()
        stack = Stack(state, Choices(host, port, workers), settings, lambda text: show.note(f"dev       | {text}"))
        asyncio.run(_run(stack, began))
    finally:
        state.release()


def _erase(state: "StateDir") -> None:
    from tocsin.storage.embedded import EmbeddedPostgres

    EmbeddedPostgres(state.database).erase()
    state.erase()


async def _run(stack: "Stack", began: float) -> None:
    """Up, until a signal, down. A second signal ends the children at once."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def end() -> None:
        if asked.is_set():
            stack.hurry()
        asked.set()

    for number in ENDS:
        loop.add_signal_handler(number, end)
    coming_up, end_asked = asyncio.create_task(stack.up()), asyncio.create_task(asked.wait())
    try:
        await asyncio.wait([coming_up, end_asked], return_when=asyncio.FIRST_COMPLETED)
        if not asked.is_set():
            await coming_up
            show.result(stack.facts, lambda: _welcome(stack.facts, time.monotonic() - began))
            await asked.wait()
    finally:
        end_asked.cancel()
        coming_up.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):  # what it raised is already on its way up
            await coming_up
        show.note("dev       | ending: API, workers, keeper, lab, database")
        await stack.down()
        for number in ENDS:  # whoever is impatient now is late: all that is left is to exit
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)


def _program() -> str:
    """How this program is called from here: by its name if the shell finds it so."""
    name = Path(sys.argv[0])
    found = shutil.which("tocsin")
    if name.name != "tocsin" or (found is not None and Path(found).samefile(name)):
        return "tocsin"
    return os.path.relpath(name)


def _welcome(facts: "Mapping[str, Any]", seconds: float) -> None:
    """What a newcomer needs: where things are, the key, and the next thing to type."""
    from tocsin.lab import make

    key, api = facts["api_key"], facts["api_url"]
    show.line(
        f"""
Tocsin is ready after {seconds:.1f} s. Ctrl-C ends all of it.

  API    {api}   described at {api}/openapi.json
  lab    {facts["lab_url"]}/lab   the simulated providers
  demo   {api}/demo/#key={key}
  key    {key}   of a test app: it reaches the lab only

Next, in another terminal, register a simulated phone and send to it:

  curl -X PUT {api}/v1/devices/phone-1 -H 'Authorization: Bearer {key}' \\
    -H 'Content-Type: application/json' \\
    -d '{{"provider": "fcm", "token": "{make("ok", 1)}", "user_id": "u1"}}'

  {_program()} send --user u1 --title Hi --body "from Tocsin" --watch
"""
    )
