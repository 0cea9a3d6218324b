"""Subscriptions without a browser: the lab holds their private keys, so that it really decrypts what is sent to them.

Nothing is stored: keys and secret are derived from the lab's seed and the subscription's own name, which also says its
scenario, its flavour and the VAPID key it is bound to. Gives PushSubscription JSON; refuses names it did not make.
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from tocsin.lab.accounts import b64url, from_b64url, point
from tocsin.lab.tokens import ORDINARY, Marker, read_marker, write_marker
from tocsin.lab.webpush.refusals import FLAVOURS

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_KNOWN = 8192


@dataclass(frozen=True, slots=True)
class Synthetic:
    """A subscription as the lab sees it. `vapid_tag` tells which VAPID key it is bound to."""

    name: str
    marker: Marker | None
    flavour: str
    vapid_tag: str
    key: ec.EllipticCurvePrivateKey
    public: bytes
    secret: bytes


def tag_of(vapid_key: bytes) -> str:
    """Eight characters that stand for a VAPID public key."""
    return b64url(hashlib.sha256(vapid_key).digest()[:6])


class Synthetics:
    """Makes and finds subscriptions of one seed."""

    def __init__(self, seed: bytes) -> None:
        self._name_key = hmac.digest(seed, b"names", "sha256")
        self._scalar_key = hmac.digest(seed, b"scalars", "sha256")
        self._secret_key = hmac.digest(seed, b"secrets", "sha256")
        self._known: OrderedDict[str, Synthetic] = OrderedDict()

    def make(self, scenario: str, seconds: int | None, flavour: str, vapid_key: str) -> Synthetic:
        """A new subscription; raises ValueError with the member that is not good."""
        if flavour not in FLAVOURS:
            raise ValueError(f"flavour: expected one of {', '.join(FLAVOURS)}")
        try:
            octets = from_b64url(vapid_key)
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), octets)
        except ValueError:
            raise ValueError("vapid_public_key: expected an uncompressed P-256 point in base64url") from None
        marker = "sub" if scenario == ORDINARY else write_marker(scenario, seconds)
        if marker != "sub" and read_marker(marker, "webpush") is None:
            raise ValueError(f"kind: Web Push has no scenario {scenario!r}")
        stem = f"{marker}.{flavour[0]}.{tag_of(octets)}.{secrets.token_urlsafe(15)}"
        return self._derive(f"{stem}.{self._seal(stem)}")

    def find(self, name: str) -> Synthetic | None:
        """The subscription of this name, or None if it is not one of ours."""
        known = self._known.get(name)
        if known is not None:
            return known
        stem, _, seal = name.rpartition(".")
        if not hmac.compare_digest(self._seal(stem).encode(), seal.encode()):
            return None
        found = self._derive(name)
        self._known[name] = found
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)
        return found

    def _seal(self, stem: str) -> str:
        return b64url(hmac.digest(self._name_key, stem.encode(), "sha256")[:9])

    def _derive(self, name: str) -> Synthetic:
        marker, letter, tag, _, _ = name.split(".")
        scalar = int.from_bytes(hmac.digest(self._scalar_key, name.encode(), "sha256"), "big") % (_ORDER - 1) + 1
        key = ec.derive_private_key(scalar, ec.SECP256R1())
        return Synthetic(
            name=name,
            marker=read_marker(marker, "webpush"),
            flavour=next(flavour for flavour in FLAVOURS if flavour[0] == letter),
            vapid_tag=tag,
            key=key,
            public=point(key.public_key()),
            secret=hmac.digest(self._secret_key, name.encode(), "sha256")[:16],
        )


def as_json(subscription: Synthetic, endpoint: str) -> dict[str, Any]:
    """The PushSubscription as a browser gives it (W3C Push API, toJSON)."""
    return {
        "endpoint": endpoint,
        "expirationTime": None,
        "keys": {"p256dh": b64url(subscription.public), "auth": b64url(subscription.secret)},
    }
