"""Google's token endpoint for service accounts (RFC 7523): an assertion goes in, an access token comes out.

Verifies the RS256 signature, key id, issuer, audience and times of the assertion. Access tokens are signed with the
lab's seed, so that they stay good across a restart; they expire, and all of them can be revoked at once.
"""

import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from tocsin.lab.accounts import CLIENT_EMAIL, Accounts, b64url, from_b64url
from tocsin.lab.exchange import Answer, Request

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GOOGLE_AUDIENCE = "https://oauth2.googleapis.com/token"
"""Google's libraries keep this audience also where the account names another token endpoint."""
_LEEWAY = 60
_LONGEST = 3600
_JSON = (b"content-type", b"application/json; charset=utf-8")
_KNOWN = 1024


class BadAssertion(ValueError):
    """The assertion is not good; the text is the error_description."""


def _parts(assertion: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    try:
        head, claims, signature = assertion.split(".")
        header, told = orjson.loads(from_b64url(head)), orjson.loads(from_b64url(claims))
        octets = from_b64url(signature)
    except ValueError:
        raise BadAssertion("Invalid JWT: it is not three base64url parts with JSON in the first two.") from None
    if not isinstance(header, dict) or not isinstance(told, dict):
        raise BadAssertion("Invalid JWT: header and claims must be JSON objects.")
    return header, told, octets, f"{head}.{claims}".encode()


class OAuth:
    """The endpoint and the access tokens it gave out. `lifetime` in seconds is what `expires_in` announces."""

    def __init__(self, accounts: Accounts, audiences: Callable[[], set[str]]) -> None:
        """`audiences` gives the endpoint's own URLs."""
        self._accounts = accounts
        self._audiences = audiences
        self._key = hmac.digest(accounts.seed, b"access tokens", "sha256")
        self._good: OrderedDict[str, float] = OrderedDict()
        self.lifetime = 3599
        self.revoked = False

    # ------------------------------------------------------------------ the assertion

    def check(self, assertion: str, now: float) -> None:
        """Raises BadAssertion unless this is a good one at `now` (seconds since the epoch)."""
        header, claims, signature, signed = _parts(assertion)
        if header.get("alg") != "RS256":
            raise BadAssertion("Invalid JWT: alg must be RS256.")
        if claims.get("iss") != CLIENT_EMAIL:
            raise BadAssertion("Invalid grant: account not found")
        if header.get("kid") != self._accounts.key_id or self.revoked:
            raise BadAssertion("Invalid JWT Signature.")
        try:
            self._accounts.rsa_public.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            raise BadAssertion("Invalid JWT Signature.") from None
        if claims.get("aud") not in {GOOGLE_AUDIENCE, *self._audiences()}:
            raise BadAssertion("Invalid JWT: Failed audience check.")
        issued, expires = claims.get("iat"), claims.get("exp")
        if not isinstance(issued, int | float) or not isinstance(expires, int | float):
            raise BadAssertion("Invalid JWT: iat and exp must be numbers.")
        good = issued <= now + _LEEWAY and now - _LEEWAY < expires and issued < expires <= issued + _LONGEST
        if not good or expires > now + _LONGEST + _LEEWAY:
            raise BadAssertion(
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
                "Check your iat and exp values in the JWT claim."
            )
        if not isinstance(claims.get("scope"), str) or not claims["scope"].strip():
            raise BadAssertion("Invalid JWT: scope is required.")

    def receive(self, request: Request) -> Answer:
        """The answer to POST /token."""
        if request.method != "POST":
            return _error(405, "invalid_request", "Only POST is allowed.")
        form = parse_qs(request.body.decode("latin-1"))
        grant, assertion = form.get("grant_type", [""])[-1], form.get("assertion", [""])[-1]
        if grant != GRANT:
            return _error(400, "unsupported_grant_type", f"Invalid grant_type: {grant[:80]}")
        try:
            self.check(assertion, time.time())
        except BadAssertion as bad:
            return _error(400, "invalid_grant", str(bad))
        told = {"access_token": self.give(time.time()), "expires_in": self.lifetime, "token_type": "Bearer"}
        return Answer(200, [_JSON, (b"cache-control", b"private")], orjson.dumps(told))

    # ------------------------------------------------------------------ access tokens

    def give(self, now: float) -> str:
        """A new access token that expires `lifetime` seconds after `now`."""
        expires = f"{now + self.lifetime:.3f}"
        noise = b64url(hashlib.sha256(f"{expires}{time.monotonic_ns()}".encode()).digest())
        return f"ya29.lab.{b64url(f'{expires}/{noise}'.encode())}.{self._mac(f'{expires}/{noise}')}"

    def _mac(self, text: str) -> str:
        return b64url(hmac.digest(self._key, text.encode(), "sha256"))

    def is_good(self, authorization: str | None, now: float) -> bool:
        """Whether this is the Authorization field of a token that we gave, not expired and not revoked."""
        if authorization is None or self.revoked:
            return False
        expires = self._good.get(authorization)
        if expires is None:
            expires = self._read(authorization)
            self._good[authorization] = expires
            if len(self._good) > _KNOWN:
                self._good.popitem(last=False)
        return now < expires

    def _read(self, authorization: str) -> float:
        scheme, _, token = authorization.partition(" ")
        parts = token.strip().split(".")
        if scheme.lower() != "bearer" or len(parts) != 4 or parts[:2] != ["ya29", "lab"]:
            return 0.0
        try:
            text = from_b64url(parts[2]).decode()
        except ValueError:
            return 0.0
        if not hmac.compare_digest(self._mac(text).encode(), parts[3].encode()):
            return 0.0
        return float(text.partition("/")[0])


def _error(status: int, code: str, description: str) -> Answer:
    return Answer(status, [_JSON], orjson.dumps({"error": code, "error_description": description}))
