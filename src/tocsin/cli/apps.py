"""`tocsin apps`: make and list the apps of a tenant. A test app reaches the lab only."""

from typing import Annotated, Any

import typer

from tocsin.cli import show
from tocsin.cli.client import run
from tocsin.cli.exits import Exit, Stop
from tocsin.cli.operator import operator, read_id
from tocsin.terms.outcomes import Mode

app = typer.Typer(no_args_is_help=True, help="Apps: each owns its credentials, keys and devices.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Its name.")],
    tenant: Annotated[str, typer.Option(help="Whose app it is (tnt_…).")],
    mode: Annotated[Mode, typer.Option(help="test: the lab only. live: real providers only.")] = Mode.TEST,
    json: show.Json = False,
) -> None:
    """Make an app."""
    row = run(_create(name, tenant, mode))
    show.result(row, lambda: show.facts(row))


@app.command("list")
def list_(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's (tnt_…).")] = None, json: show.Json = False
) -> None:
    """List apps, oldest first."""
    rows = run(_list(tenant))
    columns = ["id", "tenant", "name", "mode", "created_at"]
    show.result({"data": rows}, lambda: show.table(rows, columns, empty="There are no apps."))


async def _create(name: str, tenant: str, mode: Mode) -> dict[str, Any]:
    from tocsin.tenants.organisations import create_app
    from tocsin.terms import ids

    tenant_id = read_id(ids.TENANT, tenant)
    async with operator() as op:
        try:
            app_id = await create_app(op.app, tenant_id, name, mode)
        except LookupError as absent:
            raise Stop(Exit.FAILED, str(absent), "`tocsin tenants list` shows those there are.") from None
        except ValueError as wrong:
            raise Stop(Exit.USAGE, str(wrong)) from None
    return {"id": ids.show(ids.APP, app_id), "tenant": tenant, "name": name, "mode": mode.value}


async def _list(tenant: str | None) -> list[dict[str, Any]]:
    from tocsin.tenants.organisations import list_apps
    from tocsin.terms import ids

    tenant_id = None if tenant is None else read_id(ids.TENANT, tenant)
    async with operator() as op:
        return [
            {
                "id": ids.show(ids.APP, row.app_id),
                "tenant": ids.show(ids.TENANT, row.tenant_id),
                "name": row.name,
                "mode": row.mode.value,
                "created_at": row.created_at.isoformat(),
            }
            for row in await list_apps(op.owner, tenant_id)
        ]
