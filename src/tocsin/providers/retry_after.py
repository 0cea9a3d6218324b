"""How long a provider asked to wait: its Retry-After header in seconds, or nothing.

Takes both forms of RFC 9110 section 10.2.3, seconds and a date; what is neither counts as absent.
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from tocsin.wire.endings import Answered

LONGEST: Final = 2_419_200.0
"""Seconds (28 days): no message lives longer, so that a longer wait means the same."""


def seconds(answer: Answered, now: datetime) -> float | None:
    """Seconds to wait, from 0 to LONGEST; None if the answer does not say.

    A date is read against the answer's own Date header where there is one, so that skewed clocks do no harm,
    otherwise against `now`.
    """
    raw = answer.header(b"retry-after")
    if raw is None:
        return None
    plain = whole_seconds(raw)
    if plain is not None:
        return plain
    until = _date(raw)
    if until is None:
        return None
    stamp = answer.header(b"date")
    since = (_date(stamp) if stamp is not None else None) or now
    return min(max((until - since).total_seconds(), 0.0), LONGEST)


def whole_seconds(raw: bytes) -> float | None:
    """A header that is a number of whole seconds, at most LONGEST; None if it is anything else."""
    text = raw.strip()
    if not text.isdigit():
        return None
    return LONGEST if len(text) > 9 else min(float(text), LONGEST)


def _date(raw: bytes) -> datetime | None:
    try:
        instant = parsedate_to_datetime(raw.decode("ascii"))
    except (ValueError, OverflowError):
        return None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
