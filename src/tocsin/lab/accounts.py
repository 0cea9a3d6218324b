"""The provider accounts of the lab: a Firebase service account, a VAPID key pair, and the seeds behind both.

Made once in the lab's directory (mode 0600) and kept, so that a credential stored elsewhere stays good when the lab
comes back. Gives what a caller stores as its credential; short retry floors are declared in it.
"""

import base64
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tocsin.lab.ca import write_private

PROJECT = "tocsin-lab"
PROJECT_NUMBER = "100000000001"
CLIENT_EMAIL = f"firebase-adminsdk-lab@{PROJECT}.iam.gserviceaccount.com"
SUBJECT = "mailto:lab@tocsin.example"
RETRY_FLOORS = {"throttled": 1.0, "transient": 0.5}
"""Seconds below which a retry to the lab's account must not come, where no Retry-After was given."""


def b64url(octets: bytes) -> str:
    """Base64url without padding (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def from_b64url(text: str) -> bytes:
    """The octets of base64url text, padded or not; raises ValueError for any other alphabet or length."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


@dataclass(frozen=True, slots=True)
class Accounts:
    """What the lab knows of its own accounts. `seed` is secret and only this lab's."""

    key_id: str
    rsa_pem: str
    rsa_public: rsa.RSAPublicKey
    vapid_public: str
    vapid_private: str
    seed: bytes

    def service_account(self, origin: str) -> dict[str, Any]:
        """The service-account JSON as Google's console gives it out, with the lab's token endpoint and floors."""
        return {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": self.key_id,
            "private_key": self.rsa_pem,
            "client_email": CLIENT_EMAIL,
            "client_id": PROJECT_NUMBER,
            "auth_uri": f"{origin}/o/oauth2/auth",
            "token_uri": f"{origin}/token",
            "auth_provider_x509_cert_url": f"{origin}/oauth2/v1/certs",
            "client_x509_cert_url": f"{origin}/robot/v1/metadata/x509/{CLIENT_EMAIL}",
            "universe_domain": "googleapis.com",
            "lab": {"retry_floors": RETRY_FLOORS},
        }

    def vapid(self) -> dict[str, Any]:
        """The VAPID pair (RFC 8292): raw point and scalar in base64url, and the contact."""
        return {
            "public_key": self.vapid_public,
            "private_key": self.vapid_private,
            "subject": SUBJECT,
            "lab": {"retry_floors": RETRY_FLOORS},
        }


def point(key: ec.EllipticCurvePublicKey) -> bytes:
    """The 65 octets of an uncompressed point."""
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def _make(path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    vapid = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    kept = {
        "key_id": secrets.token_hex(20),
        "rsa_pem": pem.decode(),
        "vapid_public": b64url(point(vapid.public_key())),
        "vapid_private": b64url(vapid.private_numbers().private_value.to_bytes(32, "big")),
        "seed": secrets.token_hex(32),
    }
    write_private(path, orjson.dumps(kept, option=orjson.OPT_INDENT_2))


def load(directory: Path) -> Accounts:
    """The accounts in `directory`, made if there are none; raises ValueError if the file is not the lab's."""
    path = directory / "accounts.json"
    if not path.exists():
        _make(path)
    try:
        kept = orjson.loads(path.read_bytes())
        key = serialization.load_pem_private_key(kept["rsa_pem"].encode(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return Accounts(
            key_id=kept["key_id"],
            rsa_pem=kept["rsa_pem"],
            rsa_public=key.public_key(),
            vapid_public=kept["vapid_public"],
            vapid_private=kept["vapid_private"],
            seed=bytes.fromhex(kept["seed"]),
        )
    except (ValueError, KeyError, TypeError, AssertionError) as fault:
        raise ValueError(
            f"{path} is not readable as the lab's accounts ({fault!r}); remove it to make new ones"
        ) from fault
