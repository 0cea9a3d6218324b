"""`tocsin send`: one call of the API, from the command line."""

import uuid
from typing import Annotated, Any

import typer

from tocsin.cli import show
from tocsin.cli.client import ApiKey, ApiUrl, connect, endpoint, run
from tocsin.cli.exits import Exit, Stop
from tocsin.cli.watching import watch
from tocsin.terms.outcomes import Class, OnAmbiguity


def send(
    user: Annotated[list[str] | None, typer.Option(help="All devices of this user; may be given again.")] = None,
    device: Annotated[list[str] | None, typer.Option(help="This device, by your id of it; may be given again.")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Every device of the app.")] = False,
    title: Annotated[str | None, typer.Option(help="What stands in bold.")] = None,
    body: Annotated[str | None, typer.Option(help="What stands below.")] = None,
    image: Annotated[str | None, typer.Option(help="https URL of a picture.")] = None,
    link: Annotated[str | None, typer.Option(help="https URL that a tap opens.")] = None,
    data: Annotated[list[str] | None, typer.Option(help="name=value for the app itself; may be given again.")] = None,
    ttl: Annotated[int | None, typer.Option(min=0, help="Seconds it may wait for a device.")] = None,
    priority: Annotated[str | None, typer.Option(help="high or normal.")] = None,
    collapse_key: Annotated[str | None, typer.Option(help="A newer one with this key replaces it.")] = None,
    on_ambiguity: Annotated[
        OnAmbiguity | None, typer.Option(help="If nobody knows whether a copy arrived: resend it or drop it.")
    ] = None,
    lane_class: Annotated[
        Class | None, typer.Option("--class", help="now goes before bulk; what goes to --all is always bulk.")
    ] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="Say the same key to never send twice.")] = None,
    follow: Annotated[bool, typer.Option("--watch", help="Wait until every device has its outcome.")] = False,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    json: show.Json = False,
) -> None:
    """Send a notification to users, devices or everyone."""
    request = {
        "to": _target(user or [], device or [], everyone=everyone),
        "content": _present(title=title, body=body, image=image, link=link, data=_pairs(data or [])),
        **_present(ttl=ttl, priority=priority, collapse_key=collapse_key),
    }
    if options := _present(**{"on_ambiguity": on_ambiguity, "class": lane_class}):
        request["options"] = options
    if not request["content"]:
        raise Stop(Exit.USAGE, "There is nothing to send.", "Give --title, --body or --data.")
    run(_send(api_url, api_key, request, idempotency_key or str(uuid.uuid4()), follow=follow))


async def _send(url: str | None, key: str | None, request: Any, once: str, *, follow: bool) -> None:
    async with connect(endpoint(url, key)) as api:
        accepted = await api.call("POST", "/v1/notifications", body=request, key=once)
        if not follow:
            show.result(accepted, lambda: _accepted(accepted))
            return
        last = await watch(api, accepted["id"])
    if last["status"] != "completed":
        raise typer.Exit(Exit.FAILED)


def _accepted(notification: dict[str, Any]) -> None:
    show.line(f"{notification['id']}  {notification['status']}")
    show.note(f"  follow it with:  tocsin notifications watch {notification['id']}")


def _target(users: list[str], devices: list[str], *, everyone: bool) -> dict[str, Any]:
    if everyone and (users or devices):
        raise Stop(Exit.USAGE, "--all is everyone already.", "Leave out --user and --device.")
    if everyone:
        return {"all": True}
    target: dict[str, Any] = {}
    for singular, plural, names in (("user", "users", users), ("device", "devices", devices)):
        if names:
            target |= {singular: names[0]} if len(names) == 1 else {plural: names}
    if not target:
        raise Stop(Exit.USAGE, "It is not said to whom.", "Give --user, --device or --all.")
    return target


def _pairs(words: list[str]) -> dict[str, str] | None:
    pairs = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise Stop(Exit.USAGE, f"--data takes name=value, not {word!r}.")
        pairs[name] = value
    return pairs or None


def _present(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
