"""A browser's side of Web Push: subscriptions whose private keys the test holds, and the app's VAPID pair."""

import base64
from functools import cache
from typing import Any
from uuid import UUID

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tocsin.terms.handoffs import Reached

AUTH = b"sixteen octets!!"
LAB_ENDPOINT = "https://localhost:9443/wpush/v2/abc"


def b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@cache
def browser_key() -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(0xB0B, ec.SECP256R1())


def subscription(endpoint: str = LAB_ENDPOINT, **keys: Any) -> dict[str, Any]:
    return {
        "endpoint": endpoint,
        "expirationTime": None,
        "keys": {"p256dh": b64(point(browser_key())), "auth": b64(AUTH), **keys},
    }


def browser(endpoint: str = LAB_ENDPOINT, **keys: str) -> Reached:
    return Reached(UUID(int=9), endpoint, 1, {"p256dh": b64(point(browser_key())), "auth": b64(AUTH), **keys})


def decrypt(body: bytes) -> bytes:
    """With a library that nobody here wrote."""
    plaintext = http_ece.decrypt(body, private_key=browser_key(), auth_secret=AUTH, version="aes128gcm")
    assert isinstance(plaintext, bytes)
    return plaintext


@cache
def vapid_key() -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(0xA11CE, ec.SECP256R1())


def vapid_account(**changes: Any) -> dict[str, Any]:
    account = {
        "public_key": b64(point(vapid_key())),
        "private_key": b64((0xA11CE).to_bytes(32, "big")),
        "subject": "mailto:ops@example.org",
        "lab": {"retry_floors": {"throttled": 1, "transient": 0.5}},
    }
    return {**account, **changes}
