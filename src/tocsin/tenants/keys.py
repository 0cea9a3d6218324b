"""API keys: `tk_test_<id>_<secret><checksum>`, made, recognised offline, and found by their id.

Takes and gives the text that a caller holds; only a digest of the secret is ever stored. Refuses text whose form or
checksum is wrong before any database is asked.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from tocsin.storage import Tx
from tocsin.tenants import store
from tocsin.terms.outcomes import Mode

ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
"""Base 62: a double click selects a whole key."""
ID_LENGTH: Final = 8
SECRET_LENGTH: Final = 32
"""Letters of the secret: 190 bits, so that a plain digest is enough to store."""
CHECK_LENGTH: Final = 6

_FORM = re.compile(r"tk_(test|live)_([0-9A-Za-z]{6,24})_([0-9A-Za-z]{32})([0-9A-Za-z]{6})", re.ASCII)


class BadKey(ValueError):
    """The text cannot be a key of ours: its form or its checksum is wrong. It shows nothing of the text."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key in the clear, as it is shown once. Its repr shows no secret."""

    mode: Mode
    key_id: str
    secret: str

    @property
    def text(self) -> str:
        """The whole key, checksum included: what a caller sends."""
        return _body(self.mode, self.key_id, self.secret) + _checksum(_body(self.mode, self.key_id, self.secret))

    @property
    def last4(self) -> str:
        """The last letters of the text, by which its owner recognises it in a list."""
        return self.text[-4:]

    def __repr__(self) -> str:
        return f"ApiKey({self.mode.value}, {self.key_id})"


class Found(NamedTuple):
    """What is stored of a key. `digest` is of the secret; `live` is False once it has been revoked."""

    tenant_id: UUID
    app_id: UUID
    mode: Mode
    digest: bytes
    live: bool


def mint(mode: Mode) -> ApiKey:
    """A new key from the system's randomness."""
    return ApiKey(mode, _letters(ID_LENGTH), _letters(SECRET_LENGTH))


def parse(text: str) -> ApiKey:
    """The parts of a key, its checksum verified offline; raises BadKey."""
    form = _FORM.fullmatch(text)
    if form is None:
        raise BadKey("a key looks like tk_test_… or tk_live_… and consists of letters and digits")
    mode, key_id, secret, checksum = form.groups()
    if not hmac.compare_digest(_checksum(_body(Mode(mode), key_id, secret)), checksum):
        raise BadKey("the checksum at the end of the key is wrong: a letter is missing or was mistyped")
    return ApiKey(Mode(mode), key_id, secret)


def digest(secret: str, pepper: bytes = b"") -> bytes:
    """What is stored of a secret: SHA-256, keyed with the server's pepper where there is one (HMAC, RFC 2104)."""
    octets = secret.encode("ascii")
    return hmac.digest(pepper, octets, "sha256") if pepper else hashlib.sha256(octets).digest()


def matches(found: Found | None, key: ApiKey, pepper: bytes = b"") -> bool:
    """Whether a stored key is this one and not revoked; takes as long for an unknown key as for a known one."""
    expected = found.digest if found else bytes(32)
    same = hmac.compare_digest(expected, digest(key.secret, pepper))
    return found is not None and same and found.live and found.mode is key.mode


async def find_key(tx: Tx, key_id: str) -> Found | None:
    """The stored key of this id, or None. Its tenant need not be known: `tx` may have no scope."""
    row = await store.find_key(tx, key_id)
    if row is None:
        return None
    return Found(row["tenant_id"], row["app_id"], Mode(row["mode"]), row["hash"], row["revoked_at"] is None)


def _body(mode: Mode, key_id: str, secret: str) -> str:
    return f"tk_{mode.value}_{key_id}_{secret}"


def _letters(count: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(count))


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode("ascii"))
    letters = []
    for _ in range(CHECK_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[digit])
    return "".join(reversed(letters))
