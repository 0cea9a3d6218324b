"""Who calls: the API key of a request, found in one query and remembered for a few seconds.

In: the header Authorization. Out: a Caller. Refuses a missing, malformed, unknown or revoked key with one and the same
answer; a revocation is in force everywhere within five seconds.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Annotated, Final, Protocol
from uuid import UUID

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from tocsin.storage import Database
from tocsin.tenants import keys
from tocsin.terms.clock import Clock
from tocsin.terms.errors import Refused
from tocsin.terms.outcomes import Mode

REMEMBERED: Final = 4.0
"""Seconds for which a looked-up key is believed: with the query, a revocation takes effect within 5 s."""
MOST_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request this is."""

    tenant_id: UUID
    app_id: UUID
    mode: Mode
    key_id: str


class Authenticator(Protocol):
    """What tells who calls."""

    async def __call__(self, key: str | None) -> Caller:
        """The caller who holds this key; raises Refused (unauthorized)."""
        ...


class KeyAuthenticator:
    """API keys, looked up in the database. `pepper` is the server's own part of every digest, if it has one."""

    def __init__(self, database: Database, clock: Clock, *, pepper: bytes = b"") -> None:
        self._database = database
        self._clock = clock
        self._pepper = pepper
        self._known: OrderedDict[bytes, tuple[Caller | None, float]] = OrderedDict()

    async def __call__(self, key: str | None) -> Caller:
        """The caller who holds this key; raises Refused (unauthorized), or Unavailable while the database is away."""
        if key is None:
            raise Refused("unauthorized", "The request has no API key.")
        try:
            parsed = keys.parse(key)
        except keys.BadKey:
            raise _unknown() from None
        name = hashlib.sha256(key.encode("ascii")).digest()
        caller, until = self._known.get(name, (None, 0.0))
        if self._clock.monotonic() >= until:
            asked_at = self._clock.monotonic()
            caller = await self._look_up(parsed)
            self._remember(name, caller, asked_at + REMEMBERED)
        if caller is None:
            raise _unknown()
        return caller

    async def _look_up(self, key: keys.ApiKey) -> Caller | None:
        async with self._database.transaction() as tx:
            found = await keys.find_key(tx, key.key_id)
        if not keys.matches(found, key, self._pepper):
            return None
        assert found is not None
        return Caller(found.tenant_id, found.app_id, found.mode, key.key_id)

    def _remember(self, name: bytes, caller: Caller | None, until: float) -> None:
        self._known[name] = (caller, until)
        self._known.move_to_end(name)
        if len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)


def _unknown() -> Refused:
    return Refused("unauthorized", "The API key is unknown or was revoked.")


_bearer = HTTPBearer(auto_error=False, scheme_name="key", description="An API key: tk_test_… or tk_live_…")


Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def authenticate(request: Request, bearer: Bearer) -> Caller:
    """The dependency behind `Authenticated`: asks the authenticator that the frame was made with."""
    authenticator: Authenticator = request.app.state.authenticator
    caller = await authenticator(bearer.credentials if bearer else None)
    request.scope["tocsin.caller"] = caller
    return caller


Authenticated = Annotated[Caller, Depends(authenticate)]
"""A route that has a parameter of this type takes calls with a valid key only."""
