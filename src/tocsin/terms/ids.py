"""Prefixed, time-sortable ids: what a caller reads is `ntf_…`, what a table stores is a UUIDv7.

Takes and gives text at the doors and `uuid.UUID` inside; refuses text of another kind, length or alphabet.
The 26 characters are Crockford's base32 (lower case) of the 16 octets, so that text sorts as the UUIDs do.
"""

import os
import threading
import time
from uuid import UUID

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES = {letter: value for value, letter in enumerate(ALPHABET)}
_ONE_LENGTH = 26
_TWO_LENGTH = 52

TENANT, APP, KEY, CREDENTIAL = "tnt", "app", "key", "crd"
DEVICE, NOTIFICATION, DELIVERY = "dev", "ntf", "dlv"
REQUEST, IMPORT = "req", "imp"


class BadId(ValueError):
    """The text is not an id of the kind asked for."""


def _encode(octets: bytes, length: int) -> str:
    number = int.from_bytes(octets, "big")
    letters = []
    for _ in range(length):
        letters.append(ALPHABET[number & 31])
        number >>= 5
    return "".join(reversed(letters))


def _decode(text: str, length: int, octets: int) -> bytes:
    if len(text) != length:
        raise BadId(f"expected {length} characters after the prefix, got {len(text)}")
    number = 0
    try:
        for letter in text:
            number = number << 5 | _VALUES[letter]
    except KeyError as unknown:
        raise BadId(f"{unknown.args[0]!r} is not a letter of an id") from None
    if number >> (octets * 8):
        raise BadId("the id is larger than any that was minted")
    return number.to_bytes(octets, "big")


class Mint:
    """Makes UUIDv7s that rise strictly within this process (RFC 9562 section 5.7; the 12 bits of rand_a and the
    top of rand_b count within a millisecond, section 6.2 method 1)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def __call__(self, at: float | None = None) -> UUID:
        """A new UUIDv7 for the instant `at` (seconds since the epoch; now if absent)."""
        millis = int((time.time() if at is None else at) * 1000)
        noise = int.from_bytes(os.urandom(8), "big")
        # 48 bits of time, 26 bits of counter seeded at random, 48 bits of randomness
        stamp = millis << 26 | noise >> 48 & 0x1FFFF
        if at is None:
            with self._lock:
                stamp = max(stamp, self._last + 1)
                self._last = stamp
        millis, count = stamp >> 26, stamp & 0x3FFFFFF
        value = (millis & (1 << 48) - 1) << 80 | 7 << 76 | count >> 14 << 64
        value |= 2 << 62 | (count & 0x3FFF) << 48 | noise & (1 << 48) - 1
        return UUID(int=value)


new = Mint()


def instant(value: UUID) -> float:
    """Seconds since the epoch that a UUIDv7 carries."""
    return (value.int >> 80) / 1000


def show(prefix: str, value: UUID) -> str:
    """The public text of an id, such as `ntf_06…`."""
    return f"{prefix}_{_encode(value.bytes, _ONE_LENGTH)}"


def read(prefix: str, text: str) -> UUID:
    """The UUID in a public id; raises BadId unless it has this prefix and form."""
    head, _, tail = text.partition("_")
    if head != prefix:
        raise BadId(f"expected an id that begins with {prefix}_")
    return UUID(bytes=_decode(tail, _ONE_LENGTH, 16))


def show_delivery(notification_id: UUID, device_id: UUID) -> str:
    """A delivery's public id: it has no column, being its notification and its device."""
    return f"{DELIVERY}_{_encode(notification_id.bytes + device_id.bytes, _TWO_LENGTH)}"


def read_delivery(text: str) -> tuple[UUID, UUID]:
    """(notification id, device id) of a delivery; raises BadId."""
    head, _, tail = text.partition("_")
    if head != DELIVERY:
        raise BadId(f"expected an id that begins with {DELIVERY}_")
    octets = _decode(tail, _TWO_LENGTH, 32)
    return UUID(bytes=octets[:16]), UUID(bytes=octets[16:])
