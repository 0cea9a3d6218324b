"""What happens next to a magic token: decides by the scenario and by what this token has already been through.

The state is kept by token and delivery, so that each delivery meets the whole scenario; it is bounded (the least
recently used is forgotten) and can be read back from the ledger after a restart. Knows no provider's wording.
"""

import enum
from collections import OrderedDict
from typing import NamedTuple

from tocsin.lab.accounts import RETRY_FLOORS
from tocsin.lab.tokens import Marker

_KEPT = 200_000


class Act(enum.Enum):
    """What the provider does."""

    ACCEPT = "accept"
    DEAD = "dead"
    GONE = "gone"
    BAD = "bad"
    MISMATCH = "mismatch"
    THROTTLE = "throttle"
    ERROR = "error"
    BUSY = "busy"
    SILENT = "silent"
    CUT = "cut"
    THIRD_PARTY = "third_party"
    APNS_DEAD = "apns_dead"
    REVOKED = "revoked"
    TOO_LARGE = "too_large"


class Decision(NamedTuple):
    """The act, its Retry-After in whole seconds if any, and a further delay of the answer in seconds."""

    act: Act
    retry_after: int | None = None
    delay: float = 0.0


_ALWAYS = {
    "ok": Act.ACCEPT,
    "dead": Act.DEAD,
    "gone": Act.GONE,
    "bad": Act.BAD,
    "mismatch": Act.MISMATCH,
    "busy": Act.BUSY,
    "silent": Act.SILENT,
    "third-party": Act.THIRD_PARTY,
    "apns-dead": Act.APNS_DEAD,
    "revoked": Act.REVOKED,
    "too-large": Act.TOO_LARGE,
}
_ACCEPT = Decision(Act.ACCEPT)


class Scenarios:
    """The memory of what tokens have been through, and of the waits that were asked for."""

    def __init__(self) -> None:
        self._first: OrderedDict[tuple[str, str | None], float] = OrderedDict()
        self._waits: OrderedDict[tuple[str, str | None], float] = OrderedDict()

    def decide(self, marker: Marker | None, token: str, delivery: str | None, now: float) -> Decision:
        """What happens to this request; `now` in seconds since the epoch. No marker: accepted."""
        if marker is None:
            return _ACCEPT
        name, seconds = marker
        act = _ALWAYS.get(name)
        if act is not None:
            return Decision(act)
        if name == "slow":
            return Decision(Act.ACCEPT, None, seconds or 0.0)
        key = (token, delivery)
        first = self._first.get(key)
        if first is None:
            self._keep(self._first, key, now)
        if name == "throttled":
            left = (seconds or 0.0) - (0.0 if first is None else now - first)
            return Decision(Act.THROTTLE, max(1, -int(-left // 1))) if left > 0 else _ACCEPT
        if name == "throttled-bare":
            over = first is not None and now - first >= RETRY_FLOORS["throttled"]
            return _ACCEPT if over else Decision(Act.THROTTLE)
        if first is not None:
            return _ACCEPT
        if name == "error-once":
            return Decision(Act.ERROR)
        if name == "busy-once":
            return Decision(Act.BUSY, int(seconds or 0))
        return Decision(Act.CUT)

    def early(self, token: str, delivery: str | None, now: float) -> bool:
        """Whether this request comes before a wait that this token's last answer for the delivery asked for is over."""
        until = self._waits.pop((token, delivery), None)
        return until is not None and now < until

    def answered(self, token: str, delivery: str | None, now: float, status: int, retry_after: int | None) -> None:
        """Remember the wait that a 429 or a 5xx asks for: its Retry-After, or the floor that the account declares."""
        floor = RETRY_FLOORS["throttled" if status == 429 else "transient"]
        self._keep(self._waits, (token, delivery), now + (floor if retry_after is None else retry_after))

    def recall(self, token: str, delivery: str | None, at: float) -> None:
        """Take back what the ledger says: at `at`, this magic token had its first turn (if it had none before)."""
        if (token, delivery) not in self._first:
            self._keep(self._first, (token, delivery), at)

    @staticmethod
    def _keep(store: OrderedDict[tuple[str, str | None], float], key: tuple[str, str | None], value: float) -> None:
        store[key] = value
        if len(store) > _KEPT:
            store.popitem(last=False)
