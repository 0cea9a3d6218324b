"""`tocsin credentials`: what a provider gave an app, sealed on its way in and never shown again."""

import json as json_text
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tocsin.cli import show
from tocsin.cli.client import run
from tocsin.cli.exits import Exit, Stop
from tocsin.cli.operator import keyring, operator, read_id, settings

app = typer.Typer(no_args_is_help=True, help="Provider credentials of apps.")

AppId = Annotated[str, typer.Option("--app", help="Whose credential it is (app_…).")]


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="Its JSON file as the provider gave it out; - reads stdin.")],
    app_id: AppId,
    provider: Annotated[str, typer.Option(help="fcm or webpush.")],
    name: Annotated[str, typer.Option(help="What it is called; one of the same name is replaced.")] = "default",
    json: show.Json = False,
) -> None:
    """Check a credential, seal it and put it in use."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
        secret = json_text.loads(text)
    except OSError as fault:
        raise Stop(Exit.USAGE, f"{file} cannot be read: {fault.strerror}") from None
    except ValueError as wrong:
        raise Stop(Exit.USAGE, f"{file} is not JSON: {wrong}") from None
    if not isinstance(secret, dict):
        raise Stop(Exit.USAGE, f"{file} holds no JSON object", "Give the file as the provider gave it out.")
    row = run(_add(secret, app_id, provider, name))
    show.result(row, lambda: show.facts(row))


@app.command("list")
def list_(app_id: AppId, json: show.Json = False) -> None:
    """List an app's credentials, without their secrets."""
    rows = run(_list(app_id))
    columns = ["id", "provider", "name", "state", "version", "envelope_key", "updated_at"]
    show.result({"data": rows}, lambda: show.table(rows, columns, empty="The app has no credentials."))


@app.command()
def disable(
    credential_id: Annotated[str, typer.Argument(help="Which one (crd_…).")], app_id: AppId, json: show.Json = False
) -> None:
    """Take a credential out of use: nothing is sent with it any more."""
    run(_disable(credential_id, app_id))
    row = {"id": credential_id, "state": "disabled"}
    show.result(row, lambda: show.facts(row))


async def _add(secret: dict[str, Any], app_id: str, provider: str, name: str) -> dict[str, Any]:
    from tocsin import wiring
    from tocsin.providers.base import BadCredential
    from tocsin.tenants.credentials import add_credential
    from tocsin.terms import ids

    given = settings()
    owner_app, ring = read_id(ids.APP, app_id), keyring(given)
    async with operator() as op:
        try:
            credential_id = await add_credential(
                op.app,
                ring,
                owner_app,
                provider=provider,
                name=name,
                secret=secret,
                check=lambda value, mode: wiring.check_credential(given, provider, value, mode),
            )
        except BadCredential as bad:
            raise Stop(Exit.FAILED, f"This cannot be a credential of {provider}: {bad}") from None
        except LookupError as absent:
            raise Stop(Exit.FAILED, str(absent), "`tocsin apps list` shows those there are.") from None
    return {"id": ids.show(ids.CREDENTIAL, credential_id), "app": app_id, "provider": provider, "name": name}


async def _list(app_id: str) -> list[dict[str, Any]]:
    from tocsin.tenants.credentials import list_credentials
    from tocsin.terms import ids

    owner_app = read_id(ids.APP, app_id)
    async with operator() as op:
        return [
            {
                "id": ids.show(ids.CREDENTIAL, row.credential_id),
                "provider": row.provider,
                "name": row.name,
                "mode": row.mode.value,
                "state": row.state,
                "version": row.version,
                "envelope_key": row.envelope_key_id,
                "public": dict(row.public),
                "updated_at": row.updated_at.isoformat(),
            }
            for row in await list_credentials(op.app, owner_app)
        ]


async def _disable(credential_id: str, app_id: str) -> None:
    from tocsin.tenants.credentials import disable_credential
    from tocsin.terms import ids

    owner_app, which = read_id(ids.APP, app_id), read_id(ids.CREDENTIAL, credential_id)
    async with operator() as op:
        try:
            await disable_credential(op.app, owner_app, which)
        except LookupError as absent:
            raise Stop(Exit.FAILED, str(absent), "`tocsin credentials list` shows those there are.") from None
