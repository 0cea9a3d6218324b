"""`tocsin keys`: API keys of apps, and the two key files of an installation (vault and receipts)."""

import secrets
from pathlib import Path
from typing import Annotated, Any

import typer

from tocsin.cli import show
from tocsin.cli.client import run
from tocsin.cli.exits import Exit, Stop
from tocsin.cli.operator import operator, read_id
from tocsin.cli.running import write_private

app = typer.Typer(no_args_is_help=True, help="API keys, and the key files that the processes read.")


@app.command()
def create(
    app_id: Annotated[str, typer.Option("--app", help="Whose key it is (app_…).")],
    name: Annotated[str, typer.Option(help="What it is for.")] = "key",
    json: show.Json = False,
) -> None:
    """Make an API key. It is shown this once: only a digest is stored."""
    row = run(_create(app_id, name))
    show.result(row, lambda: show.facts(row))


@app.command("list")
def list_(
    app_id: Annotated[str | None, typer.Option("--app", help="Only this app's (app_…).")] = None,
    json: show.Json = False,
) -> None:
    """List keys, revoked ones included; never their secrets."""
    rows = run(_list(app_id))
    columns = ["id", "app", "name", "mode", "last4", "created_at", "revoked_at"]
    show.result({"data": rows}, lambda: show.table(rows, columns, empty="There are no keys."))


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id: what stands between the second and third _ of it.")],
    json: show.Json = False,
) -> None:
    """End a key for good."""
    row = run(_revoke(key_id))
    show.result(row, lambda: show.line(f"{row['id']} was revoked at {row['revoked_at']}"))


@app.command()
def vault(
    file: Annotated[Path, typer.Argument(help="Where the keyring is, or is to be.")],
    rotate: Annotated[bool, typer.Option("--rotate", help="Add a new active key to the ring that is there.")] = False,
    json: show.Json = False,
) -> None:
    """Make the keyring that seals provider credentials (TOCSIN_VAULT_KEYS); for workers only."""
    from tocsin.tenants.vault import BadKeyring, create_keyring, rotate_keyring

    try:
        ring = rotate_keyring(file) if rotate else create_keyring(file)
    except FileExistsError:
        raise Stop(Exit.FAILED, f"{file} is there already.", "Use --rotate to add a key to it.") from None
    except (BadKeyring, OSError) as fault:
        raise Stop(Exit.FAILED, str(fault)) from None
    row = {"file": str(file), "active": ring.active}
    show.result(row, lambda: show.facts(row))


@app.command()
def receipt(file: Annotated[Path, typer.Argument(help="Where it is to be.")], json: show.Json = False) -> None:
    """Make the key that signs delivery receipts (TOCSIN_RECEIPT_KEY); for workers and the API."""
    if file.exists():
        raise Stop(Exit.FAILED, f"{file} is there already.", "Receipts signed with it would no longer be accepted.")
    try:
        write_private(file, secrets.token_hex(32) + "\n")
    except OSError as fault:
        raise Stop(Exit.FAILED, str(fault)) from None
    row = {"file": str(file)}
    show.result(row, lambda: show.facts(row))


async def _create(app_id: str, name: str) -> dict[str, Any]:
    from tocsin.tenants.organisations import create_key
    from tocsin.terms import ids

    owner_app = read_id(ids.APP, app_id)
    async with operator() as op:
        try:
            key = await create_key(op.app, owner_app, name)
        except LookupError as absent:
            raise Stop(Exit.FAILED, str(absent), "`tocsin apps list` shows those there are.") from None
        except ValueError as wrong:
            raise Stop(Exit.USAGE, str(wrong)) from None
    return {"id": key.key_id, "app": app_id, "name": name, "mode": key.mode.value, "key": key.text}


async def _list(app_id: str | None) -> list[dict[str, Any]]:
    from tocsin.tenants.organisations import list_keys
    from tocsin.terms import ids

    only = None if app_id is None else read_id(ids.APP, app_id)
    async with operator() as op:
        return [
            {
                "id": row.key_id,
                "app": ids.show(ids.APP, row.app_id),
                "name": row.name,
                "mode": row.mode.value,
                "last4": row.last4,
                "created_at": row.created_at.isoformat(),
                "revoked_at": None if row.revoked_at is None else row.revoked_at.isoformat(),
            }
            for row in await list_keys(op.owner, only)
        ]


async def _revoke(key_id: str) -> dict[str, Any]:
    from tocsin.tenants.organisations import revoke_key

    async with operator() as op:
        try:
            revoked_at = await revoke_key(op.app, key_id)
        except LookupError as absent:
            raise Stop(Exit.FAILED, str(absent), "`tocsin keys list` shows those there are.") from None
    return {"id": key_id, "revoked_at": revoked_at.isoformat()}
