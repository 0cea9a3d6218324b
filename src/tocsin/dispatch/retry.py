"""What a verdict means for a delivery: its end, or another try and when. By class of verdict, never by status.

A retry never comes sooner than the provider asked, nor below the floor the provider publishes. Delays of a batch are
drawn once per class and not per device, so that what waits for the same time waits in one batch.
"""

import random
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from tocsin.providers import base
from tocsin.providers.base import RetryFloors
from tocsin.terms.batches import Attempt, End, Fate, Retry
from tocsin.terms.outcomes import OnAmbiguity, State

MOST_TRIES: Final = 10
"""Tries that count, after which a delivery is `failed`."""
_LONGEST: Final = 600.0
"""Seconds between two tries at most, unless the provider asks for more."""
_UNSENT_FLOOR: Final = 0.5


@dataclass(slots=True)
class Policy:
    """Decides for one batch. `tries` were made before; `failures` in a row count against the credential."""

    tries: int
    floors: RetryFloors
    on_ambiguity: OnAmbiguity
    failures: int = 0
    dice: random.Random = field(default_factory=random.Random)
    _drawn: dict[str, float] = field(default_factory=dict)

    def fate(self, device_id: UUID, verdict: base.Verdict) -> Fate:
        """The fate that a verdict means for one device."""
        match verdict:
            case base.Taken(ref):
                return End(device_id, State.SENT, "accepted", ref)
            case base.Refused(code, detail):
                return End(device_id, State.REJECTED, code, detail=detail)
            case base.DeadToken(detail, _, code):
                return End(device_id, State.REJECTED, code, detail=detail)
            case base.Throttled(detail, after):
                return self._again(device_id, Attempt("throttled", "throttled", detail), after, self.floors.throttled)
            case base.Transient(detail, after):
                attempt = Attempt("transient", "provider_unavailable", detail)
                return self._again(device_id, attempt, after, self.floors.transient)
            case base.CredentialFault(detail):
                attempt = Attempt("credential_fault", "credential_fault", detail)
                return Retry(device_id, attempt, self.probe_delay(), spent=False)
            case base.Unknown(code):
                return self._unknown(device_id, Attempt("ambiguous", code, None))
            case base.NotSent(detail):
                attempt = Attempt("unsent", "provider_unreachable", detail)
                return Retry(device_id, attempt, self._draw("unsent", _UNSENT_FLOOR, self.tries), spent=False)

    def probe_delay(self) -> float:
        """Seconds until a refused credential is tried again: doubling with each failure in a row."""
        return self._draw("credential", self.floors.transient, self.failures)

    def _again(self, device_id: UUID, attempt: Attempt, after: float | None, floor: float) -> Fate:
        if self.tries + 1 >= MOST_TRIES:
            return End(device_id, State.FAILED, "retries_exhausted", detail=attempt.detail, attempt=attempt)
        # what the provider asks for is obeyed to the millisecond and a little more, never less
        delay = self._draw(attempt.verdict, floor, self.tries) if after is None else max(after, floor) + 0.05
        return Retry(device_id, attempt, delay)

    def _unknown(self, device_id: UUID, attempt: Attempt) -> Fate:
        if self.on_ambiguity is OnAmbiguity.DROP:
            return End(device_id, State.FAILED, "unknown_outcome", attempt=attempt)
        if self.tries + 1 >= MOST_TRIES:
            return End(device_id, State.FAILED, "retries_exhausted", attempt=attempt)
        return Retry(device_id, attempt, self._draw("transient", self.floors.transient, self.tries))

    def _draw(self, kind: str, floor: float, exponent: int) -> float:
        """Between the floor and the doubled bound, drawn once per kind and batch."""
        if kind not in self._drawn:
            bound = max(floor, min(floor * 2.0**exponent, _LONGEST))
            self._drawn[kind] = round(bound * self.dice.uniform(1.0, 1.5), 3)
        return self._drawn[kind]
