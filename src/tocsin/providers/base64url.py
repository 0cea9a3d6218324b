"""Base64url as push services write it (RFC 4648 section 5): given out without padding, read with or without.

Refuses every other alphabet, where the standard library would skip what it does not know.
"""

import base64
import re

_TEXT = re.compile(r"[A-Za-z0-9_-]*={0,2}\Z")


def encode(octets: bytes) -> str:
    """The text of these octets, without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """The octets of a text; raises ValueError if it is not base64url."""
    if not _TEXT.match(text):
        raise ValueError("not base64url: letters, digits, - and _ only")
    bare = text.rstrip("=")
    if len(bare) % 4 == 1:
        raise ValueError("not base64url: a character is missing")
    return base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
