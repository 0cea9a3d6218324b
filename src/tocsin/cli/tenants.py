"""`tocsin tenants`: make and list organisations."""

from typing import Annotated, Any

import typer

from tocsin.cli import show
from tocsin.cli.client import run
from tocsin.cli.exits import Exit, Stop
from tocsin.cli.operator import operator

app = typer.Typer(no_args_is_help=True, help="Organisations of this installation.")


@app.command()
def create(name: Annotated[str, typer.Argument(help="Its name.")], json: show.Json = False) -> None:
    """Make a tenant."""
    row = run(_create(name))
    show.result(row, lambda: show.facts(row))


@app.command("list")
def list_(json: show.Json = False) -> None:
    """List all tenants, oldest first."""
    rows = run(_list())
    show.result({"data": rows}, lambda: show.table(rows, ["id", "name", "created_at"], empty="There are no tenants."))


async def _create(name: str) -> dict[str, Any]:
    from tocsin.tenants.organisations import create_tenant
    from tocsin.terms import ids

    async with operator() as op:
        try:
            tenant_id = await create_tenant(op.app, name)
        except ValueError as wrong:
            raise Stop(Exit.USAGE, str(wrong)) from None
    return {"id": ids.show(ids.TENANT, tenant_id), "name": name}


async def _list() -> list[dict[str, Any]]:
    from tocsin.tenants.organisations import list_tenants
    from tocsin.terms import ids

    async with operator() as op:
        return [
            {"id": ids.show(ids.TENANT, row.tenant_id), "name": row.name, "created_at": row.created_at.isoformat()}
            for row in await list_tenants(op.owner)
        ]
