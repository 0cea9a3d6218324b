"""Google service accounts: what of the JSON key file is used, and whether it can be one at all.

In: the parsed file. Out: the account, its public part. Refuses an account of the lab for a live app and the reverse.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tocsin.providers.base import BadCredential
from tocsin.providers.fcm.settings import Place

_PROJECT = re.compile(r"[a-z0-9][a-z0-9.:-]{1,62}\Z")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\Z")


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A service account, checked by form. Its repr shows no key."""

    project_id: str
    client_email: str
    private_key_id: str | None
    private_key: str = field(repr=False)

    @classmethod
    def read(cls, secret: Mapping[str, Any], place: Place) -> "ServiceAccount":
        """The account in a key file meant for this place; raises BadCredential."""
        if secret.get("type") != "service_account":
            raise BadCredential(
                'type must be "service_account": give the JSON key file of a service account '
                "(Firebase console, project settings, service accounts)"
            )
        project_id = _text(secret, "project_id")
        if not _PROJECT.match(project_id):
            raise BadCredential("project_id is no Google Cloud project id: lower-case letters, digits and hyphens")
        client_email = _text(secret, "client_email")
        if not _EMAIL.match(client_email):
            raise BadCredential("client_email is no e-mail address")
        if _text(secret, "token_uri") != place.token_uri:
            raise BadCredential(
                f"token_uri must be {place.token_uri}: a live app takes Google's service accounts only, "
                "a test app those of its lab only"
            )
        key_id = secret.get("private_key_id")
        if key_id is not None and not isinstance(key_id, str):
            raise BadCredential("private_key_id must be text")
        return cls(project_id, client_email, key_id, _text(secret, "private_key"))

    def key(self, *, checked: bool = False) -> rsa.RSAPrivateKey:
        """The RSA key; raises BadCredential. `checked` proves its numbers too, which takes some 50 ms."""
        try:
            key = load_pem_private_key(
                self.private_key.encode(), password=None, unsafe_skip_rsa_key_validation=not checked
            )
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise BadCredential(
                "private_key is no unencrypted PEM private key: paste the file as it was given"
            ) from None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise BadCredential("private_key must be an RSA key, as Google's service accounts have")
        return key


def _text(secret: Mapping[str, Any], name: str) -> str:
    value = secret.get(name)
    if not isinstance(value, str) or not value:
        raise BadCredential(f"{name} is missing: give the service account's JSON key file whole")
    return value
