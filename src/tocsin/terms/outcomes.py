"""What can become of a delivery and of a notification: closed sets, glossed.

Every delivery ends in exactly one `State`; the code beside it (terms/errors.py) says why.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """The six ends of a delivery."""

    SENT = "sent"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SUPPRESSED = "suppressed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Gloss:
    """What a state means, whether we may have to mend something, and whether it is billed."""

    state: State
    gloss: str
    ours: bool
    billable: bool


STATES: Final = (
    Gloss(State.SENT, "The provider accepted it.", ours=False, billable=True),
    Gloss(State.REJECTED, "The provider refused it for good; the code says why.", ours=False, billable=True),
    Gloss(State.EXPIRED, "Its time to live passed before the provider took it.", ours=False, billable=False),
    Gloss(
        State.CANCELLED, "The notification was cancelled before this device was reached.", ours=False, billable=False
    ),
    Gloss(State.SUPPRESSED, "A rule of ours or of the recipient stopped it.", ours=False, billable=False),
    Gloss(
        State.FAILED,
        "Retries used up, an unknown outcome that may not be resent, or a fault of ours.",
        ours=True,
        billable=False,
    ),
)


class Status(StrEnum):
    """Where a notification stands."""

    ACCEPTED = "accepted"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


OPEN: Final = frozenset({Status.ACCEPTED, Status.SCHEDULED, Status.RUNNING, Status.PAUSED, Status.CANCELLING})


class Receipt(StrEnum):
    """Facts a device may report after `sent`. They are not states."""

    DELIVERED = "delivered"
    OPENED = "opened"
    CLICKED = "clicked"
    DISMISSED = "dismissed"


class OnAmbiguity(StrEnum):
    """What to do when nobody can know whether the provider took a message."""

    RESEND = "resend"
    DROP = "drop"


class Class(StrEnum):
    """How urgent the work of a notification is: `now` goes before `bulk`."""

    NOW = "now"
    BULK = "bulk"


class Mode(StrEnum):
    """A test app reaches the lab only, a live app real providers only."""

    TEST = "test"
    LIVE = "live"
