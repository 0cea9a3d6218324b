"""A batch on its way: how it is opened, begun, answered and settled. Values only; lanes and ledger both speak them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from tocsin.terms.handoffs import AcceptedHint, Learned, PlannedHint
from tocsin.terms.outcomes import Class, OnAmbiguity, State, Status


class Attempt(NamedTuple):
    """A try that was not a plain success: `verdict` is a class (ambiguous, throttled, transient, credential_fault,
    unsent), `code` a row of the error table, `detail` the provider's own words."""

    verdict: str
    code: str
    detail: str | None


class End(NamedTuple):
    """The delivery to this device has ended. `ref` is the provider's name for the message."""

    device_id: UUID
    state: State
    code: str
    ref: str | None = None
    detail: str | None = None
    attempt: Attempt | None = None


class Retry(NamedTuple):
    """Try this device again, not before `delay` seconds from now. `spent` says whether this try counts."""

    device_id: UUID
    attempt: Attempt
    delay: float
    spent: bool = True


Fate = End | Retry


class Begun(NamedTuple):
    """A batch this process holds, under `epoch`, until its lease ends.

    `suspect` says that an earlier holder died with it. `ttl_left` is in seconds by the database clock.
    """

    app_id: UUID
    notification_id: UUID
    batch_no: int
    lane_class: Class
    epoch: int
    tries: int
    deaths: int
    device_ids: Sequence[UUID]
    credential_id: UUID
    provider: str
    planned_at: datetime
    on_ambiguity: OnAmbiguity
    ttl_left: float
    suspect: bool


class Opened(NamedTuple):
    """A run that is to be planned on: where its planning stands."""

    status: Status
    cursor: UUID | None
    upper: UUID | None
    lane_class: Class


class Waiting(NamedTuple):
    """A batch made by planning or retrying: its number, size and how long until it is due, in seconds."""

    batch_no: int
    n: int
    delay: float


class Why(StrEnum):
    """Why a batch was not begun."""

    OVER = "over"
    """Settled, cancelled, paused or unknown: the hint has done its work."""
    LATER = "later"
    """Not due yet, or held by someone else: come back after `delay` seconds."""


class NotBegun(NamedTuple):
    """The batch cannot be begun now."""

    why: Why
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of some devices of a begun batch; `left` are those without an answer yet."""

    fates: Sequence[Fate]
    left: Sequence[UUID]


class Fenced(Exception):
    """Someone else has taken the batch over: what this process knows of it is void."""


class Overdue(NamedTuple):
    """What the keeper found: a batch or a page to hint at."""

    hint: AcceptedHint | PlannedHint
    lane_class: Class
    cost: int


class Unfinished(NamedTuple):
    """A run the keeper has to move: sweep it (with which state) or probe it."""

    app_id: UUID
    notification_id: UUID
    status: Status
    expired: bool


class Answers(NamedTuple):
    """What came in for some devices of a batch: their fates, and what was learned of their tokens."""

    fates: Sequence[Fate]
    dead: Sequence[Learned] = ()


class Hold(NamedTuple):
    """The batch may not be sent for another `delay` seconds."""

    delay: float
