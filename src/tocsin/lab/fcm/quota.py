"""The per-minute quota of a project: a bucket that is full again when its minute is over, not before.

Every request takes one token, also one that ends in a 4xx; a 429 takes none (FCM, throttling and quotas).
"""

import math

PER_MINUTE = 600_000
_WINDOW = 60.0


class Quota:
    """The bucket of one project. `limit` is in requests a minute and may change at any time."""

    def __init__(self, limit: int = PER_MINUTE) -> None:
        self.limit = limit
        self._used = 0
        self._ends = -math.inf

    def take(self, now: float) -> int | None:
        """Take a token at `now` (seconds of any clock): None if there was one, else whole seconds until there are."""
        if now >= self._ends:
            self._ends = now + _WINDOW
            self._used = 0
        if self._used >= self.limit:
            return max(1, math.ceil(self._ends - now))
        self._used += 1
        return None
