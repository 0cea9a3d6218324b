"""`tocsin db`: the shape of the database. Runs as `tocsin_owner`; requests and sending never do."""

import secrets
from typing import Annotated, Any

import typer

from tocsin.cli import show
from tocsin.cli.client import run
from tocsin.cli.exits import Exit, Stop
from tocsin.cli.operator import dsn, settings

app = typer.Typer(no_args_is_help=True, help="Migrations, partitions and roles.")


@app.command()
def migrate(
    before: Annotated[
        bool, typer.Option("--before", help="Leave out what code of the version before could not live with.")
    ] = False,
    json: show.Json = False,
) -> None:
    """Run what is pending and make the partitions of the days to come."""
    row = run(_migrate(before))
    show.result(row, lambda: show.facts(row))


@app.command()
def status(json: show.Json = False) -> None:
    """Say which migrations are done and which are pending; exit code 1 if any is."""
    row = run(_status())
    show.result(row, lambda: show.facts(row))
    if row["pending"]:
        raise typer.Exit(Exit.FAILED)


@app.command()
def roles(
    database: Annotated[str, typer.Option(help="The database to make.")] = "tocsin", json: show.Json = False
) -> None:
    """Write the SQL that makes the roles, with new passwords, and the database: for a server of your own."""
    from tocsin.storage.roles import ROLES, statements

    passwords = {role: secrets.token_urlsafe(24) for role in ROLES}
    sql = statements(database, passwords)
    show.result({"sql": sql, "passwords": passwords}, lambda: show.line(sql.rstrip()))


async def _migrate(before: bool) -> dict[str, Any]:
    from tocsin.storage import partitions
    from tocsin.storage.migrations import Edited, Phase
    from tocsin.storage.migrations import migrate as run_pending

    owner = dsn(settings(), "owner")
    try:
        after = await run_pending(owner, Phase.BEFORE if before else Phase.AFTER)
        made = await partitions.make_ahead(owner)
    except Edited as edited:
        raise Stop(Exit.FAILED, str(edited)) from None
    except OSError as fault:
        raise _unreachable(fault) from None
    return {"done": list(after.done), "pending": list(after.pending), "partitions_made": made}


async def _status() -> dict[str, Any]:
    from tocsin.storage.migrations import Edited
    from tocsin.storage.migrations import status as ask

    try:
        found = await ask(dsn(settings(), "owner"))
    except Edited as edited:
        raise Stop(Exit.FAILED, str(edited)) from None
    except OSError as fault:
        raise _unreachable(fault) from None
    return {"done": list(found.done), "pending": list(found.pending)}


def _unreachable(fault: OSError) -> Stop:
    return Stop(Exit.UNREACHABLE, f"The database cannot be reached: {fault}", "Run `tocsin doctor`.")
