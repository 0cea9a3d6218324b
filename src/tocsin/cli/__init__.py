"""The command line: everything an operator or a developer types, one file a group of commands.

In: words. Out: results on stdout (`--json` for programs), all else on stderr, and one of five exit codes.
Command files import what is heavy inside their functions, so that `tocsin --help` stays quick.
"""

from collections.abc import Sequence
from typing import Annotated

import typer

from tocsin import __version__
from tocsin.cli import (
    apps,
    credentials,
    db,
    deliveries,
    dev,
    devices,
    doctor,
    keys,
    lab,
    notifications,
    processes,
    send,
    show,
    tenants,
)
from tocsin.cli.exits import Exit, Stop

__all__ = ["app", "main"]

app = typer.Typer(
    name="tocsin",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Self-hosted push notifications. Exit codes: 0 ok, 1 failed, 2 usage, 3 refused by the API, 4 unreachable.",
)

RUN, SEND, OPERATE = "Run", "Send and read", "Operate"

app.command(rich_help_panel=RUN)(dev.dev)
app.command(rich_help_panel=RUN)(processes.serve)
app.command(rich_help_panel=RUN)(processes.work)
app.command(rich_help_panel=RUN)(processes.keep)
app.command(rich_help_panel=RUN)(lab.lab)
app.command(rich_help_panel=SEND)(send.send)
app.add_typer(devices.app, name="devices", rich_help_panel=SEND)
app.add_typer(notifications.app, name="notifications", rich_help_panel=SEND)
app.add_typer(deliveries.app, name="deliveries", rich_help_panel=SEND)
app.add_typer(tenants.app, name="tenants", rich_help_panel=OPERATE)
app.add_typer(apps.app, name="apps", rich_help_panel=OPERATE)
app.add_typer(keys.app, name="keys", rich_help_panel=OPERATE)
app.add_typer(credentials.app, name="credentials", rich_help_panel=OPERATE)
app.add_typer(db.app, name="db", rich_help_panel=OPERATE)
app.command(rich_help_panel=OPERATE)(doctor.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        show.line(f"tocsin {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version and end.")
    ] = False,
) -> None:
    """Self-hosted push notifications: one call in, every device reached, every outcome readable."""


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit code. `words` are those after `tocsin` (the process's own if absent)."""
    show.forget_json()
    try:
        app(args=None if words is None else list(words), prog_name="tocsin")
    except Stop as stop:
        if show.wants_json():
            show.json_line(stop.as_json())
        else:
            show.note(f"tocsin: {stop.message}" + (f"\n  fix: {stop.fix}" if stop.fix else ""))
        return int(stop.code)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(Exit.OK if ended.code is None else Exit.FAILED)
    except KeyboardInterrupt:
        return 130
    return int(Exit.OK)
