"""What travels between the rooms: hints on the lanes and values from step to step.

Lanes carry ids and a number, never content. A step answers with values, many at a time; an exception is a defect.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from tocsin.terms.outcomes import Class, OnAmbiguity, State

BATCH_SIZE: Final = 500
"""Deliveries in a batch, at most."""
PAGE_SIZE: Final = 10_000
"""Devices in a planning page, at most."""

# ------------------------------------------------------------------ hints on the lanes


@dataclass(frozen=True, slots=True)
class AcceptedHint:
    """Lane `accepted`: plan page `plan_seq` of this notification."""

    app_id: UUID
    notification_id: UUID
    plan_seq: int


@dataclass(frozen=True, slots=True)
class PlannedHint:
    """Lane `planned`: look at this batch."""

    app_id: UUID
    notification_id: UUID
    batch_no: int


class Learned(NamedTuple):
    """One thing sending learned about one device. `version` is the token's; `dead_at` the provider's word on when."""

    device_id: UUID
    version: int
    dead_at: datetime | None


@dataclass(frozen=True, slots=True)
class ReturnsHint:
    """Lane `returns`: these tokens are dead."""

    app_id: UUID
    dead: Sequence[Learned]


Hint = AcceptedHint | PlannedHint | ReturnsHint

# ------------------------------------------------------------------ values of the journey


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a notification is for: all devices of the app, or the union of the listed users and devices.

    `devices` are the caller's external ids, `users` the caller's user ids.
    """

    all: bool = False
    users: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Options:
    """How a notification is to be delivered. `ttl` is in seconds, counted from acceptance; `priority` high | normal."""

    ttl: int
    priority: str
    collapse_key: str | None
    on_ambiguity: OnAmbiguity
    lane_class: Class


@dataclass(frozen=True, slots=True)
class Message:
    """Inline content, provider-neutral. `data` maps strings to strings; `image` and `link` are https URLs."""

    title: str | None = None
    body: str | None = None
    image: str | None = None
    link: str | None = None
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A notification as it was accepted: immutable from here on."""

    app_id: UUID
    notification_id: UUID
    target: Target
    options: Options
    accepted_at: datetime
    expires_at: datetime


class Addressed(NamedTuple):
    """One device of a planning page."""

    device_id: UUID
    provider: str


class Page(NamedTuple):
    """A planning page: devices in id order, and where to go on (None after the last)."""

    devices: Sequence[Addressed]
    cursor: UUID | None


class Draft(NamedTuple):
    """A batch that planning proposes: device ids in order, for one credential, due `delay` seconds from now."""

    credential_id: UUID
    provider: str
    device_ids: Sequence[UUID]
    delay: float


class Ended(NamedTuple):
    """A delivery that needs no sending, with the reason."""

    device_id: UUID
    provider: str
    state: State
    code: str


class Plan(NamedTuple):
    """What planning makes of a page: batches to send and deliveries that have already ended."""

    drafts: Sequence[Draft]
    ended: Sequence[Ended]


class Reached(NamedTuple):
    """A device read again just before sending: where to reach it now."""

    device_id: UUID
    token: str
    token_version: int
    keys: Mapping[str, str] | None
    """Web Push only: `p256dh` and `auth`, base64url."""


class Unreached(NamedTuple):
    """A device of a batch that may not be sent to any more, and why (a code of state `suppressed`)."""

    device_id: UUID
    code: str


# ------------------------------------------------------------------ what ends a whole batch


@dataclass(frozen=True, slots=True)
class Stopped:
    """Everything in the batch ends here, in this state, for this reason."""

    state: State
    code: str
