"""`tocsin deliveries`: what became of a notification on each device, and the story of one in words."""

from typing import Annotated, Any

import typer

from tocsin.cli import show
from tocsin.cli.client import ApiKey, ApiUrl, connect, endpoint, run
from tocsin.cli.exits import Exit, Stop
from tocsin.terms.outcomes import State

app = typer.Typer(no_args_is_help=True, help="One notification on one device.")


@app.command("show")
def show_(
    delivery: Annotated[str | None, typer.Argument(help="Which one (dlv_…).")] = None,
    device: Annotated[str | None, typer.Option(help="The last one to this device, by your id of it.")] = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    json: show.Json = False,
) -> None:
    """Tell the story of a delivery: what was tried, what was answered, what the device reported."""
    if (delivery is None) == (device is None):
        raise Stop(Exit.USAGE, "Name one delivery (dlv_…), or say --device.", "`tocsin deliveries list` shows them.")
    found = run(_tell(api_url, api_key, delivery, device))
    show.result(found, lambda: _story(found))


@app.command("list")
def list_(
    notification: Annotated[str | None, typer.Argument(help="Of which notification (ntf_…).")] = None,
    device: Annotated[str | None, typer.Option(help="To which device, by your id of it: newest first.")] = None,
    state: Annotated[State | None, typer.Option(help="Only those that ended so.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many, at most.")] = 100,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    json: show.Json = False,
) -> None:
    """List the deliveries of a notification, or those to a device."""
    if (notification is None) == (device is None) or (device is not None and state is not None):
        raise Stop(Exit.USAGE, "Name a notification (ntf_…), with --state if you like, or say --device.")
    query = {"device": device} if device is not None else {}
    query |= {"state": state.value} if state is not None else {}
    path = "/v1/deliveries" if device is not None else f"/v1/notifications/{notification}/deliveries"
    rows = run(_list(api_url, api_key, path, query, limit))
    columns = ["id", "device_id", "state", "code", "attempts"]
    show.result({"data": rows}, lambda: show.table(rows, columns, empty="There is no such delivery."))


def _story(delivery: dict[str, Any]) -> None:
    show.line(f"{delivery['id']}  {delivery['state']}" + (f" ({delivery['code']})" if delivery.get("code") else ""))
    for event in delivery.get("story", []):
        show.line(f"  {event['at']}  {event['text']}")


async def _list(url: str | None, key: str | None, path: str, query: dict[str, str], limit: int) -> list[dict[str, Any]]:
    async with connect(endpoint(url, key)) as api:
        return await api.pages(path, query=query, most=limit)


async def _tell(url: str | None, key: str | None, delivery: str | None, device: str | None) -> dict[str, Any]:
    async with connect(endpoint(url, key)) as api:
        if device is not None:
            last = await api.pages("/v1/deliveries", query={"device": device}, most=1)
            if not last:
                raise Stop(Exit.FAILED, f"Nothing that was sent to {device} has ended yet.")
            delivery = last[0]["id"]
        found: dict[str, Any] = await api.call("GET", f"/v1/deliveries/{delivery}")
        return found
