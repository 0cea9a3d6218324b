"""A small run whose three ledgers agree, to be spoilt one way at a time."""

import copy
from dataclasses import dataclass, field
from typing import Any

from tests.checker.__main__ import judge
from tests.checker.evidence import (
    Arrival,
    Attempt,
    Batch,
    Change,
    Client,
    Database,
    Device,
    Kill,
    Lab,
    Reading,
    Request,
    Row,
    Run,
    Violation,
)

APP = bytes([1]) * 16
NOTE = bytes([2]) * 16
NAMES = ("plain", "dead", "slow", "cut", "expired", "killed")
DEVICES = {name: bytes([16 + place]) * 16 for place, name in enumerate(NAMES)}
START = 1_000_000.0


def pair(name: str) -> bytes:
    return NOTE + DEVICES[name]


def arrival(n: int, name: str, status: int | str = 200, **more: Any) -> Arrival:
    values: dict[str, Any] = {
        "at": START + n,
        "provider": "fcm",
        "token": f"token-{name}",
        "code": None,
        "accepted": status == 200,
        "retry_after": None,
        "fault": None,
        "connection": "1",
    }
    return Arrival(n=n, status=status, **{**values, **more})


def request(**more: Any) -> Request:
    values: dict[str, Any] = {
        "line": 20,
        "at": START,
        "app": APP,
        "key": "key-1",
        "body_sha256": "aa",
        "to": {"all": True},
        "ttl": 60,
        "drop": False,
        "status": 202,
        "id": NOTE,
        "raw": "",
    }
    return Request(**{**values, **more})


@dataclass
class Ledgers:
    """The three of them."""

    client: Client = field(default_factory=Client)
    database: Database = field(default_factory=Database)
    lab: Lab = field(default_factory=Lab)

    def copy(self) -> "Ledgers":
        return copy.deepcopy(self)

    def violations(self) -> list[Violation]:
        return judge(self.client, self.database, self.lab, slack=12.0)[0]

    def kinds(self) -> set[str]:
        return {violation.kind for violation in self.violations()}


def agreeing() -> Ledgers:
    """One plain success, a dead token, a throttled one, a cut that was sent again, an expiry, and a killed worker's."""
    run = Ledgers()
    run.client.changes = [
        Change(line, START, APP, "register", name, f"user-{name}", "fcm", f"token-{name}")
        for line, name in enumerate(NAMES, 1)
    ]
    run.client.requests = [request()]
    run.client.kills = [Kill(21, START + 5, 4711, 1)]
    progress = {"targeted": 6, "pending": 0, "sent": 4, "rejected": 1, "expired": 1}
    run.client.readings = [Reading(22, START + 90, NOTE, "completed", progress)]
    run.client.floors = {APP: {"throttled": 1.0, "transient": 0.5}}

    ends = {name: Row("sent", "accepted", 1, 1, START + 20) for name in NAMES}
    ends["dead"] = Row("rejected", "unregistered", 1, 1, START + 20)
    ends["expired"] = Row("expired", "ttl_passed", 1, 1, START + 61)
    run.database.rows = {pair(name): [row] for name, row in ends.items()}
    run.database.attempts = {
        pair("slow"): [Attempt(1, 1, "throttled", "throttled", START + 3)],
        pair("cut"): [Attempt(1, 1, "ambiguous", "cut_off", START + 4)],
        pair("killed"): [Attempt(1, 1, "ambiguous", "worker_lost", START + 35)],
        pair("expired"): [Attempt(1, 1, "transient", "provider_unavailable", START + 5)],
    }
    run.database.owners = {NOTE: APP}
    counts = {"sent": 4, "rejected": 1, "expired": 1, "cancelled": 0, "suppressed": 0, "failed": 0}
    run.database.runs = {NOTE: Run(APP, START, START + 60, "completed", True, 6, dict(counts))}
    run.database.batches = {NOTE: [Batch(1, 6, 0, True, dict(counts))]}
    run.database.devices = {(APP, name): Device(device, "active", START) for name, device in DEVICES.items()}

    run.lab.arrivals = {
        pair("plain"): [arrival(1, "plain")],
        pair("dead"): [arrival(2, "dead", 404, code="UNREGISTERED")],
        pair("slow"): [arrival(3, "slow", 429, retry_after=2.0), arrival(6, "slow")],
        pair("cut"): [arrival(4, "cut", "cut", accepted=True, fault="cut"), arrival(7, "cut")],
        pair("killed"): [arrival(5, "killed"), arrival(36, "killed")],
        pair("expired"): [arrival(8, "expired", 503)],
    }
    return run
