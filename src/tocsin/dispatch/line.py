"""A line: the provider and the open credential that a batch goes through, and the breaker that guards it.

In: a begun batch, inside its transaction. Out: a line, a time to hold until, or the reason why there is none.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tocsin.dispatch.store import Breakers
from tocsin.providers.base import Credential, Limits, Provider
from tocsin.terms.batches import Begun, End, Fate, Hold, Retry
from tocsin.terms.handoffs import Stopped
from tocsin.terms.outcomes import State

OpenCredential = Callable[[Any, UUID, UUID], Awaitable[Credential | None]]
"""(transaction, app, credential id) → the credential with its secret, or None if there is none to use."""


@dataclass(frozen=True, slots=True)
class Line:
    """Where a batch goes out. `failures` in a row were counted on the credential before."""

    provider: Provider
    credential: Credential
    limits: Limits
    failures: int

    @property
    def probing(self) -> bool:
        """Whether this batch finds out if a refused credential works again."""
        return self.failures > 0


class Lines:
    """Opens lines, and keeps their breakers."""

    def __init__(self, providers: Mapping[str, Provider], open_credential: OpenCredential) -> None:
        self._providers = providers
        self._open_credential = open_credential
        self._breakers = Breakers()

    async def open(self, tx: Any, begun: Begun) -> Line | Hold | Stopped:
        """The line of a batch, inside begin's transaction."""
        credential = await self._open_credential(tx, begun.app_id, begun.credential_id)
        if credential is None:
            return Stopped(State.FAILED, "no_credential")
        breaker = await self._breakers.read(tx, begun.app_id, begun.credential_id)
        if breaker is not None:
            if breaker.wait > 0:
                return Hold(breaker.wait)
            if not await self._breakers.take_probe(tx, begun.app_id, begun.credential_id):
                return Hold(1.0)
        provider = self._providers[credential.provider]
        failures = breaker.failures if breaker else 0
        return Line(provider, credential, provider.limits(credential), failures)

    async def note(self, tx: Any, line: Line, fates: Sequence[Fate]) -> None:
        """Open the breaker on a refused credential, close it when a probe went through; inside settle's transaction."""
        credential = line.credential
        for fate in fates:
            if isinstance(fate, Retry) and fate.attempt.verdict == "credential_fault":
                await self._breakers.open(
                    tx, credential.app_id, credential.credential_id, fate.attempt.detail or "refused", fate.delay
                )
                return
        if line.probing and any(isinstance(fate, End) for fate in fates):
            await self._breakers.close(tx, credential.app_id, credential.credential_id)
