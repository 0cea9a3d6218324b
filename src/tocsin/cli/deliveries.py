"""`tocsin deliveries`: what became of a notification on each device, and the story of one in words."""

from typing import Annotated, Any

import typer

from tocsin.cli import show
from tocsin.cli.client import ApiKey, ApiUrl, connect, endpoint, once, run
from tocsin.terms.outcomes import State

app = typer.Typer(no_args_is_help=True, help="One notification on one device.")


@app.command("show")
def show_(
    delivery: Annotated[str, typer.Argument(help="Which one (dlv_…).")],
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    json: show.Json = False,
) -> None:
    """Tell the story of a delivery: what was tried, what was answered, what the device reported."""
    found = run(once(api_url, api_key, "GET", f"/v1/deliveries/{delivery}"))
    show.result(found, lambda: _story(found))


@app.command("list")
def list_(
    notification: Annotated[str, typer.Argument(help="Of which notification (ntf_…).")],
    state: Annotated[State | None, typer.Option(help="Only those that ended so.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many, at most.")] = 100,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    json: show.Json = False,
) -> None:
    """List the deliveries of a notification."""
    query = {} if state is None else {"state": state.value}
    rows = run(_list(api_url, api_key, notification, query, limit))
    columns = ["id", "device_id", "state", "code", "attempts"]
    show.result({"data": rows}, lambda: show.table(rows, columns, empty="There is no such delivery."))


def _story(delivery: dict[str, Any]) -> None:
    show.line(f"{delivery['id']}  {delivery['state']}" + (f" ({delivery['code']})" if delivery.get("code") else ""))
    for event in delivery.get("story", []):
        show.line(f"  {event['at']}  {event['text']}")


async def _list(
    url: str | None, key: str | None, notification: str, query: dict[str, str], limit: int
) -> list[dict[str, Any]]:
    async with connect(endpoint(url, key)) as api:
        return await api.pages(f"/v1/notifications/{notification}/deliveries", query=query, most=limit)
