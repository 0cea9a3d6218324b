"""Push subscriptions, as PushSubscription.toJSON() gives them (W3C Push API): an endpoint and two keys.

In: what a device registered. Out: the endpoint and the keys, in one spelling. Refuses keys that cannot encrypt.
"""

from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from tocsin.providers import base64url
from tocsin.providers.base import Address, BadToken
from tocsin.providers.webpush.settings import WebPushSettings
from tocsin.terms.outcomes import Mode
from tocsin.wire.addresses import ForbiddenAddress

POINT: Final = 65
"""Octets of an uncompressed P-256 point (RFC 8291 section 4, key id length)."""
AUTH: Final = 16
"""Octets of the authentication secret (RFC 8291 section 3.2)."""


def check(token: Any, subscription: Any, mode: Mode, settings: WebPushSettings) -> Address:
    """The subscription as it is stored: the endpoint is the token, keys are unpadded base64url; raises BadToken."""
    if token is not None:
        raise BadToken(
            "a Web Push device has a subscription and no token: give what PushSubscription.toJSON() returned"
        )
    if not isinstance(subscription, Mapping):
        raise BadToken('subscription must be an object: {"endpoint", "keys": {"p256dh", "auth"}}')
    endpoint = subscription.get("endpoint")
    if not isinstance(endpoint, str):
        raise BadToken("subscription.endpoint must be text: the URL of the push service")
    try:
        settings.locate(endpoint, mode)
    except ForbiddenAddress as forbidden:
        raise BadToken(f"subscription.endpoint: {forbidden}") from None
    keys = subscription.get("keys")
    if not isinstance(keys, Mapping):
        raise BadToken('subscription.keys must be an object: {"p256dh", "auth"}')
    point = _octets(keys, "p256dh", POINT)
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        raise BadToken("subscription.keys.p256dh is no point of the curve P-256") from None
    auth = _octets(keys, "auth", AUTH)
    return Address(endpoint, {"p256dh": base64url.encode(point), "auth": base64url.encode(auth)})


def _octets(keys: Mapping[str, Any], name: str, length: int) -> bytes:
    text = keys.get(name)
    if not isinstance(text, str):
        raise BadToken(f"subscription.keys.{name} is missing: it is base64url text")
    try:
        octets = base64url.decode(text)
    except ValueError as wrong:
        raise BadToken(f"subscription.keys.{name} is {wrong}") from None
    if len(octets) != length:
        raise BadToken(f"subscription.keys.{name} must be {length} octets, this one has {len(octets)}")
    return octets
