"""The envelope: a secret under AES-256-GCM with a key of its own, and that key under a named key of a keyring file.

In: octets and the text of the row they belong to. Out: a seal that opens in that row only. Refuses seals that were
altered, moved to another row, or made with a key the ring does not hold.
"""

import base64
import binascii
import os
import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FORMAT: Final = 1
"""The version octet of every seal; another way of sealing takes another number."""

_KEY_OCTETS = 32
_NONCE_OCTETS = 12  # NIST SP 800-38D section 8.2
_WRAPPED_OCTETS = _NONCE_OCTETS + _KEY_OCTETS + 16
_KEY_ID = re.compile(r"[0-9A-Za-z_.-]{1,64}", re.ASCII)


class BadSeal(Exception):
    """The seal cannot be opened here: altered, moved from another row, or made with a key this ring does not hold."""


class BadKeyring(ValueError):
    """The keyring file cannot be used; the text names the file and what to do."""


class Keyring:
    """Named keys of 256 bits. The active one seals; every one of them opens. Its repr shows no key."""

    def __init__(self, active: str, keys: Mapping[str, bytes]) -> None:
        if active not in keys:
            raise BadKeyring(f"the active key {active!r} is not in the ring")
        if any(len(key) != _KEY_OCTETS for key in keys.values()) or not all(map(_KEY_ID.fullmatch, keys)):
            raise BadKeyring("every key has 32 octets and a name of up to 64 letters, digits and . _ -")
        self.active = active
        self._keys = {name: AESGCM(key) for name, key in keys.items()}

    def __repr__(self) -> str:
        return f"Keyring(active={self.active!r}, {len(self._keys)} keys)"

    def holds(self, name: str) -> bool:
        """Whether this ring can open what was sealed with the key of this name."""
        return name in self._keys

    def seal(self, secret: bytes, row: str) -> bytes:
        """The secret under the active key, bound to `row`, a text that names its place and version."""
        name = self.active.encode("ascii")
        head = bytes((FORMAT, len(name))) + name
        bound = head + row.encode()
        data_key = AESGCM.generate_key(_KEY_OCTETS * 8)
        wrap_nonce, nonce = os.urandom(_NONCE_OCTETS), os.urandom(_NONCE_OCTETS)
        wrapped = wrap_nonce + self._keys[self.active].encrypt(wrap_nonce, data_key, bound)
        return head + wrapped + nonce + AESGCM(data_key).encrypt(nonce, secret, bound)

    def open(self, seal: bytes, row: str) -> bytes:
        """The secret that was sealed for this very row; raises BadSeal."""
        name = key_id(seal)
        ring_key = self._keys.get(name)
        if ring_key is None:
            raise BadSeal(f"sealed with the key {name!r}, which this ring does not hold")
        start = 2 + len(name)
        bound = seal[:start] + row.encode()
        wrapped, rest = seal[start : start + _WRAPPED_OCTETS], seal[start + _WRAPPED_OCTETS :]
        try:
            data_key = ring_key.decrypt(wrapped[:_NONCE_OCTETS], wrapped[_NONCE_OCTETS:], bound)
            return AESGCM(data_key).decrypt(rest[:_NONCE_OCTETS], rest[_NONCE_OCTETS:], bound)
        except (InvalidTag, ValueError):
            raise BadSeal("the seal was altered, cut short or moved from another row") from None


def key_id(seal: bytes) -> str:
    """The name of the key a seal was made with, read without opening it; raises BadSeal."""
    if len(seal) < 2 or seal[0] != FORMAT or len(seal) < 2 + seal[1]:
        raise BadSeal("not a seal of a format we know")
    try:
        return seal[2 : 2 + seal[1]].decode("ascii")
    except UnicodeDecodeError:
        raise BadSeal("not a seal of a format we know") from None


def create_keyring(path: Path) -> Keyring:
    """Write a ring with one new key to `path` (mode 0600) and give it; raises FileExistsError."""
    _write(path, name := _new_name(), {name: secrets.token_bytes(_KEY_OCTETS)}, os.O_EXCL)
    return load_keyring(path)


def rotate_keyring(path: Path) -> Keyring:
    """Add a new key to the ring at `path` and make it the active one; the others go on opening."""
    _, keys = _read(path)
    keys[name := _new_name()] = secrets.token_bytes(_KEY_OCTETS)
    beside = path.with_name(path.name + ".new")
    _write(beside, name, keys, os.O_TRUNC)
    beside.replace(path)
    return load_keyring(path)


def load_keyring(path: Path) -> Keyring:
    """The ring in a file; raises BadKeyring if it is absent, readable by others, or not a ring."""
    return Keyring(*_read(path))


def _new_name() -> str:
    return "k" + secrets.token_hex(4)


def _read(path: Path) -> tuple[str, dict[str, bytes]]:
    try:
        mode = path.stat().st_mode
        text = path.read_bytes()
    except OSError as fault:
        raise BadKeyring(f"{path}: {fault.strerror}; `tocsin keys vault` makes a keyring") from None
    if stat.S_IMODE(mode) & 0o077:
        raise BadKeyring(f"{path}: others can read it; run chmod 600 {path}")
    try:
        ring = orjson.loads(text)
        return str(ring["active"]), {
            str(name): base64.b64decode(key, validate=True) for name, key in ring["keys"].items()
        }
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, binascii.Error):
        raise BadKeyring(f"{path}: not a keyring") from None


def _write(path: Path, active: str, keys: Mapping[str, bytes], flag: int) -> None:
    ring = {"active": active, "keys": {name: base64.b64encode(key).decode() for name, key in keys.items()}}
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps(ring, option=orjson.OPT_INDENT_2))
        file.flush()
        os.fsync(file.fileno())
