"""Senders of the lab's two providers for tests: an access token and FCM messages, VAPID fields and encrypted bodies.

Built on cryptography and http_ece alone; shares nothing with the adapters nor with the lab.
"""

import base64
import json
import os
import time
import urllib.parse
import urllib.request
import uuid
from typing import Any

import http_ece
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from tests.contracts.lab_process import LabProcess

from tocsin.terms import ids

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def b64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def octets_of(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def delivery(notification: uuid.UUID | None = None) -> str:
    """A new delivery id."""
    return ids.show_delivery(notification or ids.new(), ids.new())


def access_token(lab: LabProcess) -> str:
    """A bearer token for the lab's service account, by the grant of RFC 7523."""
    account = lab.ask("/lab/accounts/fcm")
    key = serialization.load_pem_private_key(account["private_key"].encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    now = int(time.time())
    header = {"alg": "RS256", "typ": "JWT", "kid": account["private_key_id"]}
    claims = {"iss": account["client_email"], "scope": "x", "aud": account["token_uri"], "iat": now, "exp": now + 3600}
    text = ".".join(b64url(json.dumps(part).encode()) for part in (header, claims))
    assertion = f"{text}.{b64url(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"
    form = urllib.parse.urlencode({"grant_type": GRANT, "assertion": assertion}).encode()
    with urllib.request.urlopen(account["token_uri"], data=form, context=lab.tls()) as answer:
        token: str = json.load(answer)["access_token"]
        return token


def fcm_body(token: str, delivery_id: str | None = None, **parts: Any) -> bytes:
    """A SendMessageRequest for one token."""
    data = {"k": "v"} if delivery_id is None else {"tocsin_delivery": delivery_id}
    return json.dumps({"message": {"token": token, "notification": {"title": "Hi"}, "data": data, **parts}}).encode()


def fcm_headers(bearer: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {bearer}"), ("content-type", "application/json")]


def vapid_key(account: dict[str, Any]) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(octets_of(account["private_key"]), "big"), ec.SECP256R1())


def raw_point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def vapid(key: ec.EllipticCurvePrivateKey, audience: str, **changed: Any) -> str:
    """An Authorization field (RFC 8292)."""
    claims = {"aud": audience, "exp": int(time.time()) + 3600, "sub": "mailto:a@example.com", **changed}
    text = ".".join(b64url(json.dumps(part).encode()) for part in ({"alg": "ES256", "typ": "JWT"}, claims))
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    signature = b64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    return f"vapid t={text}.{signature}, k={b64url(raw_point(key))}"


def sealed(subscription: dict[str, Any], plain: bytes, sender: ec.EllipticCurvePrivateKey | None = None) -> bytes:
    """An aes128gcm body for a subscription (RFC 8291)."""
    body: bytes = http_ece.encrypt(
        plain,
        salt=os.urandom(16),
        private_key=sender or ec.generate_private_key(ec.SECP256R1()),
        dh=octets_of(subscription["keys"]["p256dh"]),
        auth_secret=octets_of(subscription["keys"]["auth"]),
        version="aes128gcm",
    )
    return body


def push_headers(authorization: str | None, ttl: str | None = "60") -> list[tuple[str, str]]:
    fields = [("content-encoding", "aes128gcm"), ("content-type", "application/octet-stream")]
    if ttl is not None:
        fields.append(("ttl", ttl))
    if authorization is not None:
        fields.append(("authorization", authorization))
    return fields


def path_of(url: str) -> str:
    return urllib.parse.urlsplit(url).path
