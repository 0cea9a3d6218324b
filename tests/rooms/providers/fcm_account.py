"""A service account of the lab's and one of Google's, with a key made for the test run."""

from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def lab_account(**changes: Any) -> dict[str, Any]:
    account = {
        "type": "service_account",
        "project_id": "demo-project",
        "private_key_id": "key-1",
        "private_key": pem(rsa_key()),
        "client_email": "push@demo-project.iam.gserviceaccount.com",
        "token_uri": "https://localhost:9443/token",
        "lab": {"retry_floors": {"throttled": 1, "transient": 0.5}},
    }
    return {**account, **changes}


def google_account(**changes: Any) -> dict[str, Any]:
    return lab_account(token_uri="https://oauth2.googleapis.com/token", **changes)
