"""The contract of a lane: at least once, mostly soon, a delay of at most 15 minutes, two classes.

A message is a hint ("look at batch 7"); the row it names is the truth. Lost, doubled, late or stale hints change
nothing.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

from tocsin.terms.handoffs import Hint
from tocsin.terms.outcomes import Class

LONGEST_DELAY: Final = 900.0
"""Seconds; what waits longer waits in a row with a due time."""


class Name(StrEnum):
    """The lanes there are."""

    ACCEPTED = "accepted"
    PLANNED = "planned"
    RETURNS = "returns"


class Parked(NamedTuple):
    """A hint to be put: `cost` is its share of work (deliveries), `delay` in seconds."""

    hint: Hint
    lane_class: Class
    cost: int = 1
    delay: float = 0.0


class Claimed(NamedTuple):
    """A hint that this process holds until its visibility ends; `receives` counts how often it was claimed."""

    message_id: int
    app_id: UUID
    hint: Hint
    lane_class: Class
    receives: int
    lease: int


class Lane(Protocol):
    """One lane. `tx` is an open transaction of storage, so that a handoff commits with what caused it."""

    async def put(self, tx: Any, hints: Sequence[Parked]) -> None:
        """Add hints, visible once `tx` commits."""
        ...

    async def claim(self, limit: int, visibility: float) -> Sequence[Claimed]:
        """Take up to `limit` hints for `visibility` seconds: `now` first, a tenth of the claims kept for `bulk`."""
        ...

    async def extend(self, claimed: Sequence[Claimed], visibility: float) -> None:
        """Hold on to them for `visibility` seconds from now."""
        ...

    async def ack(self, tx: Any | None, claimed: Sequence[Claimed]) -> None:
        """Done: remove them, in `tx` if given. A hint that someone else has claimed meanwhile stays."""
        ...

    async def release(self, claimed: Sequence[Claimed], delay: float = 0.0) -> None:
        """Give them back, visible after `delay` seconds."""
        ...
