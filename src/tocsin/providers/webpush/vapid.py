"""Voluntary identification (RFC 8292): the app's P-256 key pair, and the signed word that goes with each request.

In: a credential, a push service's origin. Out: the value of `authorization`, made once per origin and used for hours.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tocsin.providers import base64url, jws
from tocsin.providers.base import BadCredential

LIFETIME: Final = 12 * 3600
"""Seconds from signing to `exp`: half of what RFC 8292 section 2 allows, for clocks that differ."""
RENEWED: Final = 3600
"""Seconds before `exp` at which a token is signed anew; Apple wants that at most once an hour."""
KEPT: Final = 4096
"""Tokens kept at most; the one unused for longest goes first."""

_SUBJECT = re.compile(r"(?:mailto:[^\s@<>]+@[^\s@<>]+|https://[^\s/?#@]+(?:[/?#]\S*)?)\Z")


@dataclass(frozen=True, slots=True)
class VapidKeys:
    """An app's VAPID key pair and contact, checked. Its repr shows no private key."""

    public_key: str
    subject: str
    private_key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def read(cls, secret: Mapping[str, Any]) -> "VapidKeys":
        """The keys in a credential, in one spelling; raises BadCredential."""
        scalar = _octets(secret, "private_key", 32)
        point = _octets(secret, "public_key", 65)
        try:
            private = ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1())
        except ValueError:
            raise BadCredential("private_key is no scalar of the curve P-256") from None
        if private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) != point:
            raise BadCredential("public_key does not belong to private_key: give both of one pair")
        subject = secret.get("subject")
        if not isinstance(subject, str) or not subject.isprintable() or not _SUBJECT.match(subject):
            raise BadCredential("subject must be a mailto: or https: address at which push services can reach you")
        return cls(base64url.encode(point), subject, private)


class Vouchers:
    """The signed tokens of this process, by credential version and audience."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[UUID, int, str], tuple[int, bytes]] = OrderedDict()

    def authorization(self, credential_id: UUID, version: int, keys: VapidKeys, audience: str, now: datetime) -> bytes:
        """The `authorization` header for this audience (scheme, host and port of the endpoint)."""
        instant = int(now.timestamp())
        place = (credential_id, version, audience)
        kept = self._kept.get(place)
        # a signing time ahead of now means that the clock was set back
        if kept is None or not kept[0] <= instant < kept[0] + LIFETIME - RENEWED:
            kept = (instant, authorization(keys, audience, instant + LIFETIME))
            self._kept[place] = kept
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(place)
        return kept[1]


def authorization(keys: VapidKeys, audience: str, expires: int) -> bytes:
    """`vapid t=…, k=…` (RFC 8292 section 3), valid until `expires` in seconds since the epoch."""
    claims = {"aud": audience, "exp": expires, "sub": keys.subject}
    token = jws.compact({"typ": "JWT", "alg": "ES256"}, claims, lambda octets: _sign(keys.private_key, octets))
    return f"vapid t={token}, k={keys.public_key}".encode("ascii")


def _sign(key: ec.EllipticCurvePrivateKey, octets: bytes) -> bytes:
    """An ES256 signature as JWS wants it: r and s, 32 octets each (RFC 7518 section 3.4)."""
    r, s = decode_dss_signature(key.sign(octets, ec.ECDSA(SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _octets(secret: Mapping[str, Any], name: str, length: int) -> bytes:
    text = secret.get(name)
    if not isinstance(text, str):
        raise BadCredential(f"{name} is missing: it is {length} octets as base64url text")
    try:
        octets = base64url.decode(text)
    except ValueError as wrong:
        raise BadCredential(f"{name} is {wrong}") from None
    if len(octets) != length:
        raise BadCredential(f"{name} must be {length} octets, this one has {len(octets)}")
    return octets
