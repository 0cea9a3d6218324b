"""The lab, as its users know it: magic tokens by their published form, the control API, the ledger file.

In: the lab's control address and directory. Out: tokens, subscriptions, faults, ledger lines.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp


def fcm_token(scenario: str, n: int | str, seconds: int | None = None) -> str:
    """The token number `n` of a scenario (`ordinary`: no scenario), of the form that the lab's table publishes."""
    if scenario == "ordinary":
        head = f"ordinary-{n}".ljust(11, "_")[:22]
    else:
        head = (f"lab-{scenario}" + (f"-{seconds}" if seconds is not None else "")).ljust(11, "_")
    tail = base64.urlsafe_b64encode(hashlib.shake_256(f"{head}{n}".encode()).digest(100)).rstrip(b"=").decode()
    return f"{head}:APA91b{tail}"


class LabControl:
    """The control API."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url, self.ledger = url, directory / "ledger.jsonl"

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """One call of the control API; raises unless it answers 2xx."""
        async with aiohttp.ClientSession() as session, session.request(method, self.url + path, json=body) as answer:
            text = await answer.text()
            assert 200 <= answer.status < 300, f"{method} {path}: {answer.status} {text}"
            return json.loads(text) if text else None

    async def subscriptions(self, count: int, kind: str = "ok") -> list[dict[str, Any]]:
        """Web Push subscriptions whose private keys the lab holds."""
        reply = await self.call("POST", "/lab/subscriptions", {"count": count, "kind": kind})
        given: list[dict[str, Any]] = reply["subscriptions"]
        return given

    async def inject(self, **rule: Any) -> Any:
        """Put a fault in force."""
        return await self.call("POST", "/lab/faults", rule)

    async def heal(self) -> None:
        """Take all faults out of force."""
        await self.call("DELETE", "/lab/faults")

    def lines(self) -> Iterator[dict[str, Any]]:
        """Every whole line of the ledger as it is now."""
        with self.ledger.open(encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n"):
                    yield json.loads(line)

    def of(self, notification: str) -> list[dict[str, Any]]:
        """What the lab's ledger says of one notification."""
        return [line for line in self.lines() if line["notification"] == notification]
