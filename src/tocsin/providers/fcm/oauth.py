"""Access tokens for a service account, by the JWT grant of RFC 7523: minted when needed, kept while valid, one exchange
in flight for each credential version (developers.google.com/identity/protocols/oauth2/service-account).

In: a service account. Out: a bearer, or the verdict for the messages that wait for it.
Nothing of a key or a token is ever logged.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode
from uuid import UUID

import orjson
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from tocsin.providers import jws, retry_after
from tocsin.providers.base import BadCredential, CredentialFault, Transient
from tocsin.providers.fcm.account import ServiceAccount
from tocsin.providers.fcm.settings import EXCHANGE_PATH, PUBLISHED
from tocsin.terms.clock import Clock
from tocsin.wire.endings import Answered, Call, Ending, Origin, Wire

SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTED: Final = 3600
"""Seconds an assertion is good for: the most that Google takes."""
EARLY: Final = 240.0
"""Seconds before its end at which a token is renewed; half its life if that is shorter."""
UNSTATED: Final = 600.0
"""Seconds a token is taken to live if the answer does not say (RFC 6749 section 5.1 only recommends it)."""
KEPT: Final = 1000
"""Tokens kept at most; the one unused for longest goes first."""
PATIENCE: Final = 3.0
"""Seconds for one exchange. Two of them and the pause fit in the time a batch has until its first byte."""
PAUSE: Final = 1.0
"""Seconds before the second and last try."""

_PASSING_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_PASSING_ERRORS = frozenset({"internal_failure", "server_error", "temporarily_unavailable"})

Key = tuple[UUID, int]
"""A credential's id and version."""


class Bearer(NamedTuple):
    """An access token. `renew_at` and `ends_at` are of the monotonic clock."""

    token: str
    renew_at: float
    ends_at: float


class Bearers:
    """The access tokens of this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[Key, Bearer] = OrderedDict()
        self._flights: dict[Key, asyncio.Task[Bearer | CredentialFault | Transient]] = {}

    async def get(
        self, key: Key, account: ServiceAccount, wire: Wire, origin: Origin
    ) -> Bearer | CredentialFault | Transient:
        """A bearer for the account, from memory or from `origin`; else why there is none.

        A token that is due for renewal but still valid is used on when the endpoint is unwell.
        """
        kept = self._kept.get(key)
        if kept is not None and self._clock.monotonic() < kept.renew_at:
            self._kept.move_to_end(key)
            return kept
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._exchange(account, wire, origin))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done))
        gained = await asyncio.shield(flight)
        if isinstance(gained, Transient) and kept is not None and self._clock.monotonic() < kept.ends_at:
            return kept
        return gained

    def drop(self, key: Key, refused: Bearer) -> None:
        """Forget this bearer; one that has been minted since stays."""
        if self._kept.get(key) == refused:
            del self._kept[key]

    def _landed(self, key: Key, flight: "asyncio.Task[Bearer | CredentialFault | Transient]") -> None:
        del self._flights[key]
        if flight.cancelled() or flight.exception() is not None:
            return
        gained = flight.result()
        if isinstance(gained, Bearer):
            self._kept[key] = gained
            self._kept.move_to_end(key)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)

    async def _exchange(
        self, account: ServiceAccount, wire: Wire, origin: Origin
    ) -> Bearer | CredentialFault | Transient:
        try:
            call = _call(account, origin, self._clock.now())
        except BadCredential as bad:
            return CredentialFault(str(bad))
        gained = self._read(await _submit_one(wire, call))
        if isinstance(gained, Transient) and gained.after is None:
            await self._clock.sleep(PAUSE)
            gained = self._read(await _submit_one(wire, call))
        return gained

    def _read(self, ending: Ending) -> Bearer | CredentialFault | Transient:
        if not isinstance(ending, Answered):
            return Transient(f"oauth {ending.code}")
        body = _object(ending.body)
        if ending.status == 200:
            return self._bearer(body)
        code = _error_code(body)
        if ending.status in _PASSING_STATUS or code in _PASSING_ERRORS or not 400 <= ending.status < 500:
            return Transient(f"oauth {code or ending.status}", retry_after.seconds(ending, self._clock.now()))
        return CredentialFault(f"oauth {code or ending.status}")

    def _bearer(self, body: Mapping[str, Any]) -> Bearer | Transient:
        token, lifetime = body.get("access_token"), body.get("expires_in", UNSTATED)
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
            return Transient("oauth answer without an access token")
        if isinstance(lifetime, bool) or not isinstance(lifetime, int | float) or lifetime <= 0:
            return Transient("oauth answer with an odd expires_in")
        ends_at = self._clock.monotonic() + lifetime
        return Bearer(token, renew_at=ends_at - min(EARLY, lifetime / 2), ends_at=ends_at)


def assertion(account: ServiceAccount, now: datetime) -> str:
    """The signed claim to be this account (RS256); raises BadCredential if its key cannot sign.

    Its audience is Google's endpoint also where another takes it, as in every library of Google's.
    """
    key = account.key()
    issued = int(now.timestamp())
    header = {"alg": "RS256", "typ": "JWT"}
    if account.private_key_id:
        header["kid"] = account.private_key_id
    claims = {
        "iss": account.client_email,
        "scope": SCOPE,
        "aud": PUBLISHED.token_uri,
        "iat": issued,
        "exp": issued + ASSERTED,
    }
    return jws.compact(header, claims, lambda octets: key.sign(octets, PKCS1v15(), SHA256()))


def _call(account: ServiceAccount, origin: Origin, now: datetime) -> Call:
    body = urlencode({"grant_type": GRANT, "assertion": assertion(account, now)}).encode()
    headers = ((b"content-type", b"application/x-www-form-urlencoded"), (b"accept", b"application/json"))
    return Call(origin, b"POST", EXCHANGE_PATH.encode(), headers, body)


async def _submit_one(wire: Wire, call: Call) -> Ending:
    endings = [
        ending
        async for chunk in wire.submit([call], write_within=PATIENCE, answer_within=PATIENCE)
        for _, ending in chunk
    ]
    return endings[0]


def _error_code(body: Mapping[str, Any]) -> str | None:
    """The code of an OAuth error (RFC 6749 section 5.2), or the status of a Google API error."""
    error = body.get("error")
    code = error.get("status") if isinstance(error, dict) else error
    return code[:64] if isinstance(code, str) and code else None


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
