"""Voluntary application server identification (RFC 8292), verified as a push service does.

Takes an Authorization field, gives the sender's public key; refuses a bad signature, audience, time or contact.
"""

from collections import OrderedDict
from typing import NamedTuple

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tocsin.lab.accounts import from_b64url

_LONGEST = 24 * 3600
_KNOWN = 4096


class BadVapid(ValueError):
    """The identification is missing or not good; the text says why, `reason` is the name Apple gives it."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Identity(NamedTuple):
    """A verified sender: its 65-octet public key, and until when (seconds since the epoch) the token holds."""

    key: bytes
    expires: float


def parameters(authorization: str) -> tuple[str, str]:
    """(t, k) of an Authorization field of scheme `vapid` (RFC 8292 section 3); unknown parameters are ignored."""
    scheme, _, rest = authorization.strip().partition(" ")
    if scheme.lower() != "vapid":
        raise BadVapid("BadAuthorizationHeader", "the Authorization scheme is not vapid")
    found = {}
    for part in rest.split(","):
        name, _, value = part.strip().partition("=")
        found[name.lower()] = value.strip('"')
    if not found.get("t") or not found.get("k"):
        raise BadVapid("BadAuthorizationHeader", "the Authorization field lacks t or k")
    return found["t"], found["k"]


def _public_key(text: str) -> tuple[bytes, ec.EllipticCurvePublicKey]:
    try:
        octets = from_b64url(text)
        if len(octets) != 65:
            raise ValueError
        return octets, ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), octets)
    except ValueError:
        raise BadVapid("BadVapidPublicKey", "k is not an uncompressed P-256 point in base64url") from None


def verify(token: str, key: str, audiences: set[str], now: float) -> Identity:
    """The identity that `t` and `k` prove at `now` to one of these origins; raises BadVapid."""
    octets, public = _public_key(key)
    try:
        head, body, mark = token.split(".")
        header, claims, signature = orjson.loads(from_b64url(head)), orjson.loads(from_b64url(body)), from_b64url(mark)
    except ValueError:
        raise BadVapid("BadJwtToken", "t is not a JWT") from None
    if not isinstance(header, dict) or not isinstance(claims, dict) or header.get("alg") != "ES256":
        raise BadVapid("BadJwtToken", "the JWT is not of alg ES256")
    if len(signature) != 64:
        raise BadVapid("BadJwtToken", "the signature is not 64 octets")
    whole = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    try:
        public.verify(whole, f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise BadVapid("BadJwtToken", "the signature does not fit the key k") from None
    audience = claims.get("aud")
    if not isinstance(audience, str) or audience not in audiences:
        raise BadVapid("BadJwtToken", "aud is not the origin of the subscription's endpoint")
    expires = claims.get("exp")
    if isinstance(expires, bool) or not isinstance(expires, int | float) or not now < expires <= now + _LONGEST:
        raise BadVapid("BadJwtToken", "exp is over, or more than 24 hours ahead")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject.startswith(("mailto:", "https://")):
        raise BadVapid("BadJwtToken", "sub is not a mailto: or https: contact")
    return Identity(octets, float(expires))


class Vapid:
    """Verifies, remembering what was good: a sender uses one token for hours."""

    def __init__(self) -> None:
        self._good: OrderedDict[str, Identity] = OrderedDict()

    def check(self, authorization: str | None, audiences: set[str], now: float) -> Identity:
        """The sender's identity at `now`; raises BadVapid."""
        if authorization is None:
            raise BadVapid("MissingProviderToken", "the Authorization field is missing")
        known = self._good.get(authorization)
        if known is not None and now < known.expires:
            return known
        identity = verify(*parameters(authorization), audiences, now)
        self._good[authorization] = identity
        if len(self._good) > _KNOWN:
            self._good.popitem(last=False)
        return identity
