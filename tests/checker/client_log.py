"""Reads C, the client's reply log: one JSON object a line, written by the client as it acts.

`register | logout | delete` change the audience, `send` is a request with its reply (`status` null: none came), `read`
is what the API said of a notification, `cancel` that the client cancelled it, `kill` a process ended by the rig,
`floors` the waits that the provider asks for, `stated` what the run promises to inject. Refuses any other line.
"""

import json
from pathlib import Path
from typing import Any

from tests.checker import ids
from tests.checker.evidence import Change, Client, Kill, Reading, Request


class Unreadable(ValueError):
    """A ledger has a line that cannot be what its writer writes."""


def read(path: Path) -> Client:
    """Everything in the log at `path`; raises Unreadable with the line's number."""
    client = Client()
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                _take(client, number, json.loads(line), line)
            except (ValueError, KeyError, TypeError) as wrong:
                raise Unreadable(f"{path}, line {number}: {type(wrong).__name__} {wrong}") from wrong
    return client


def _take(client: Client, number: int, item: dict[str, Any], raw: str) -> None:
    match item["op"]:
        case "register" | "logout" | "delete" as what:
            app = ids.octets(item["app"], "app")
            client.changes.append(
                Change(
                    number,
                    item["at"],
                    app,
                    what,
                    item["external_id"],
                    item.get("user_id"),
                    item.get("provider"),
                    item.get("token"),
                )
            )
        case "send":
            accepted = item["status"] is not None and 200 <= item["status"] < 300
            client.requests.append(
                Request(
                    line=number,
                    at=item["at"],
                    app=ids.octets(item["app"], "app"),
                    key=item["key"],
                    body_sha256=item["body_sha256"],
                    to=item["to"],
                    ttl=item.get("ttl"),
                    drop=item.get("on_ambiguity") == "drop",
                    status=item["status"],
                    id=ids.octets(item["id"], "ntf") if accepted else None,
                    raw=raw.strip(),
                )
            )
        case "read":
            note = ids.octets(item["id"], "ntf")
            client.readings.append(Reading(number, item["at"], note, item["status"], item["progress"]))
        case "kill":
            client.kills.append(Kill(number, item["at"], item["pid"], item["begun"]))
        case "cancel":
            client.cancelled.add(ids.octets(item["id"], "ntf"))
        case "floors":
            client.floors[ids.octets(item["app"], "app")] = {name: item[name] for name in ("throttled", "transient")}
        case "stated":
            client.stated.update({name: int(value) for name, value in item["injects"].items()})
        case other:
            raise ValueError(f"unknown op {other!r}")
