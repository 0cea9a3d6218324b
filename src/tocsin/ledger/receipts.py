"""Receipts: a token in every payload with which its device, and nobody else, may say what became of it.

In: a delivery's ids and the installation's key. Out: an opaque text of 86 letters, and from such a text the ids again.
Refuses text that this key did not sign.
"""

import base64
import binascii
import hmac
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

KEY_OCTETS: Final = 32
"""Octets of the key file, at least."""
_LABEL: Final = b"tocsin receipt 1"
_ID_OCTETS: Final = 48
_MAC_OCTETS: Final = 16
_LENGTH: Final = 86


class BadReceipt(ValueError):
    """The text is not a receipt token that this key signed."""


class BadReceiptKey(ValueError):
    """The key file cannot be used; the text names it and says why."""


class Reported(NamedTuple):
    """The delivery that a receipt token is of."""

    app_id: UUID
    notification_id: UUID
    device_id: UUID


def load_key(path: Path) -> bytes:
    """The key in a file, white space at its ends left out; raises BadReceiptKey if absent or too short."""
    try:
        key = path.read_bytes().strip()
    except OSError as fault:
        raise BadReceiptKey(f"{path}: {fault.strerror}") from None
    if len(key) < KEY_OCTETS:
        raise BadReceiptKey(f"{path}: a receipt key has at least {KEY_OCTETS} octets")
    return key


def sign(key: bytes, app_id: UUID, notification_id: UUID, device_id: UUID) -> str:
    """The receipt token of a delivery: its three ids and 16 octets of HMAC-SHA256 (RFC 2104), base64url."""
    told = app_id.bytes + notification_id.bytes + device_id.bytes
    return base64.urlsafe_b64encode(told + _mac(key, told)).rstrip(b"=").decode()


def verify(key: bytes, text: str) -> Reported:
    """The delivery that a token is of; raises BadReceipt."""
    if len(text) != _LENGTH:
        raise BadReceipt("a receipt token has 86 letters")
    try:
        octets = base64.b64decode(text + "==", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise BadReceipt("a receipt token is base64url") from None
    told, mac = octets[:_ID_OCTETS], octets[_ID_OCTETS:]
    if not hmac.compare_digest(mac, _mac(key, told)):
        raise BadReceipt("the receipt token was not signed here")
    return Reported(UUID(bytes=told[:16]), UUID(bytes=told[16:32]), UUID(bytes=told[32:]))


def _mac(key: bytes, told: bytes) -> bytes:
    """Under a key of the app's own, so that a token of one app says nothing in another."""
    app_key = hmac.digest(key, _LABEL + told[:16], "sha256")
    return hmac.digest(app_key, told, "sha256")[:_MAC_OCTETS]
