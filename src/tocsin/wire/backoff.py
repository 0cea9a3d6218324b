"""How long to wait before the next connection attempt.

In: how many attempts failed in a row. Out: seconds, doubled each time up to a ceiling, spread so that processes which
lost the same peer do not come back at the same moment. Refuses nothing.
"""

import random
from collections.abc import Callable
from typing import Final

FIRST: Final = 0.1
CEILING: Final = 5.0


def pause(failures: int, draw: Callable[[], float] = random.random) -> float:
    """Seconds to wait after `failures` (at least 1) failed attempts; `draw` gives a number in [0, 1)."""
    longest = min(CEILING, FIRST * float(2 ** min(failures - 1, 16)))
    return longest * (0.5 + 0.5 * draw())
