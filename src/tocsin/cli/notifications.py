"""`tocsin notifications`: read one or many, follow one to its end, cancel, pause, resume."""

from typing import Annotated, Any

import typer

from tocsin.cli import show
from tocsin.cli.client import ApiKey, ApiUrl, connect, endpoint, once, run
from tocsin.cli.exits import Exit
from tocsin.cli.watching import summary, watch

app = typer.Typer(no_args_is_help=True, help="Notifications that were sent.")

Id = Annotated[str, typer.Argument(help="Which one (ntf_…).")]


@app.command()
def get(notification: Id, api_url: ApiUrl = None, api_key: ApiKey = None, json: show.Json = False) -> None:
    """Say where a notification stands."""
    found = run(once(api_url, api_key, "GET", f"/v1/notifications/{notification}"))
    show.result(found, lambda: show.line(summary(found)))


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, at most.")] = 20,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    json: show.Json = False,
) -> None:
    """List notifications, newest first."""
    found = run(_list(api_url, api_key, limit))
    rows = [{**row, **row.get("progress", {})} for row in found]
    columns = ["id", "status", "targeted", "pending", "sent", "rejected", "failed", "accepted_at"]
    show.result({"data": found}, lambda: show.table(rows, columns, empty="Nothing was sent yet."))


@app.command("watch")
def watch_(notification: Id, api_url: ApiUrl = None, api_key: ApiKey = None, json: show.Json = False) -> None:
    """Follow a notification until every device has its outcome; exit code 1 if it did not complete."""
    last = run(_watch(api_url, api_key, notification))
    if last["status"] != "completed":
        raise typer.Exit(Exit.FAILED)


@app.command()
def cancel(notification: Id, api_url: ApiUrl = None, api_key: ApiKey = None, json: show.Json = False) -> None:
    """Stop a notification: what has not been sent will not be."""
    _move(api_url, api_key, notification, "cancel")


@app.command()
def pause(notification: Id, api_url: ApiUrl = None, api_key: ApiKey = None, json: show.Json = False) -> None:
    """Hold a notification until it is resumed; its time to live goes on."""
    _move(api_url, api_key, notification, "pause")


@app.command()
def resume(notification: Id, api_url: ApiUrl = None, api_key: ApiKey = None, json: show.Json = False) -> None:
    """Go on with a paused notification."""
    _move(api_url, api_key, notification, "resume")


def _move(url: str | None, key: str | None, notification: str, verb: str) -> None:
    moved = run(once(url, key, "POST", f"/v1/notifications/{notification}/{verb}"))
    show.result(moved, lambda: show.line(f"{moved['id']}  {moved['status']}"))


async def _list(url: str | None, key: str | None, limit: int) -> list[Any]:
    async with connect(endpoint(url, key)) as api:
        return await api.pages("/v1/notifications", query={}, most=limit)


async def _watch(url: str | None, key: str | None, notification: str) -> dict[str, Any]:
    async with connect(endpoint(url, key)) as api:
        return await watch(api, notification)
