"""What the three ledgers say, as plain values: C from the client, D from the database, P from the provider (the lab).

A pair is the 32 octets of a delivery id: notification, then device. Times are seconds since the epoch.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

Pair = bytes


class Change(NamedTuple):
    """C: one change of the audience by the client. `what` is register, logout or delete."""

    line: int
    at: float
    app: bytes
    what: str
    external_id: str
    user_id: str | None
    provider: str | None
    token: str | None


class Request(NamedTuple):
    """C: one request to send, and its reply: `status` is None if the reply never came, `id` None unless accepted."""

    line: int
    at: float
    app: bytes
    key: str | None
    body_sha256: str
    to: dict[str, Any]
    ttl: float | None
    drop: bool
    status: int | None
    id: bytes | None
    raw: str


class Reading(NamedTuple):
    """C: what the API said of a notification."""

    line: int
    at: float
    id: bytes
    status: str
    progress: dict[str, int]


class Kill(NamedTuple):
    """C: a process that the rig killed, with the deliveries it had begun and not settled."""

    line: int
    at: float
    pid: int
    begun: int


@dataclass(slots=True)
class Client:
    """Everything in the client's log."""

    changes: list[Change] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    cancelled: set[bytes] = field(default_factory=set)
    """Notifications the client cancelled: devices not yet planned by then were never targets."""
    floors: dict[bytes, dict[str, float]] = field(default_factory=dict)
    stated: dict[str, int] = field(default_factory=dict)


class Row(NamedTuple):
    """D: the terminal row of a delivery."""

    state: str
    code: str
    attempts: int
    batch_no: int
    settled_at: float


class Attempt(NamedTuple):
    """D: an attempt that was not a first-try success."""

    batch_no: int
    epoch: int
    verdict: str
    code: str
    at: float


class Batch(NamedTuple):
    """D: a batch, with one count for each terminal state."""

    batch_no: int
    n: int
    left: int
    settled: bool
    counts: dict[str, int]


class Run(NamedTuple):
    """D: a notification and how far it is."""

    app: bytes
    accepted_at: float
    expires_at: float
    status: str
    planned: bool
    targeted: int
    counts: dict[str, int] | None


class Device(NamedTuple):
    """D: a device as it is now."""

    device: bytes
    state: str
    token_set_at: float


@dataclass(slots=True)
class Database:
    """What the database holds of the apps that are judged."""

    owners: dict[bytes, bytes] = field(default_factory=dict)
    """The app of every notification there is, so that another app's is not taken for a phantom."""
    runs: dict[bytes, Run] = field(default_factory=dict)
    batches: dict[bytes, list[Batch]] = field(default_factory=dict)
    rows: dict[Pair, list[Row]] = field(default_factory=dict)
    attempts: dict[Pair, list[Attempt]] = field(default_factory=dict)
    devices: dict[tuple[bytes, str], Device] = field(default_factory=dict)


class Arrival(NamedTuple):
    """P: a request that reached the lab whole."""

    n: int
    at: float
    provider: str
    token: str
    status: int | str
    code: str | None
    accepted: bool
    retry_after: float | None
    fault: str | None
    connection: str


@dataclass(slots=True)
class Lab:
    """Everything in the lab's ledger: by pair, and by token where the lab could not read the delivery id."""

    arrivals: dict[Pair, list[Arrival]] = field(default_factory=dict)
    opaque: dict[str, list[Arrival]] = field(default_factory=dict)


class Violation(NamedTuple):
    """One disagreement. `kind` is a name from rules; `pair` or `note` says what it is about, if anything."""

    kind: str
    text: str
    note: bytes | None = None
    pair: Pair | None = None
