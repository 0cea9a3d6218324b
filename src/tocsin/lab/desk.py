"""The desk that every simulated provider works at: ledger, faults, the memory of magic tokens, latency and counts.

A provider tells what it made of a request; the desk lets a fault change the ending, writes the ledger line and gives
the reply. So faults, lines and counts are the same for all providers.
"""

import hashlib
import random
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tocsin.lab.exchange import Answer, Ending, Reply, Request
from tocsin.lab.faults import TAKING, Faults, Rule
from tocsin.lab.ledger import Ledger, Line
from tocsin.lab.scenarios import Act, Decision, Scenarios
from tocsin.lab.tokens import Marker

_INBOX = 1000


class Parcel(NamedTuple):
    """What a provider could read of a request before judging it."""

    token: str | None
    delivery: str | None
    marker: Marker | None


class Judged(NamedTuple):
    """What a provider makes of a request. `act` is what a scenario said, None if it came to none; SILENT and CUT are
    for a message that is taken and whose answer is lost."""

    answer: Answer
    code: str | None
    accepted: bool
    ref: str | None = None
    retry_after: int | None = None
    act: Act | None = None
    delay: float = 0.0


Troubled = Callable[[Act, int | None], Judged]
"""The provider's own form of ERROR, BUSY and THROTTLE, with Retry-After or without."""

_ACTS = {"error": Act.ERROR, "unavailable": Act.BUSY, "throttle": Act.THROTTLE}
_ENDINGS = {
    "cut": Ending.CUT,
    "cut_connection": Ending.CUT_CONNECTION,
    "silence": Ending.SILENT,
    "goaway": Ending.GOAWAY,
    "refuse": Ending.REFUSED,
}
_STATUS = {
    Ending.CUT: "cut",
    Ending.CUT_CONNECTION: "cut",
    Ending.SILENT: "silent",
    Ending.GOAWAY: "goaway",
    Ending.REFUSED: "refused",
}


class Kept(NamedTuple):
    """A message as the device would get it."""

    at: float
    provider: str
    token: str | None
    delivery: str | None
    content: Any


@dataclass(slots=True)
class Desk:
    """The desk. `latency` is (least, most) seconds before an ordinary answer leaves."""

    ledger: Ledger
    scenarios: Scenarios
    clock: Callable[[], float]
    """The event loop's clock, in seconds."""
    faults: Faults = field(default_factory=Faults)
    latency: tuple[float, float] = (0.025, 0.075)
    requests: Counter[str] = field(default_factory=Counter)
    """Requests that arrived whole, by provider."""
    accepted: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    """Endings, by provider and status, such as `fcm 200`."""
    scripted: Counter[str] = field(default_factory=Counter)
    """Endings that magic tokens brought about, by scenario."""
    inbox: deque[Kept] = field(default_factory=lambda: deque(maxlen=_INBOX))
    _die: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311 - jitter, not secrecy

    def wait(self) -> float:
        """Seconds until an ordinary answer leaves, drawn anew."""
        low, high = self.latency
        return low + (high - low) * self._die.random()

    def decide(self, parcel: Parcel) -> Decision:
        """What the scenario of a magic token says happens now."""
        return self.scenarios.decide(parcel.marker, parcel.token or "", parcel.delivery, time.time())

    def handle(
        self, provider: str, request: Request, parcel: Parcel, judge: Callable[[], Judged], troubled: Troubled
    ) -> Reply:
        """Judge a request, unless a fault comes first; write it down; give the reply."""
        rule = self.faults.strike(provider, request.h2, self.clock()) if self.faults.rules else None
        ending = Ending.ANSWERED
        if rule is not None and rule.kind in _ENDINGS:
            ending = _ENDINGS[rule.kind]
        if rule is None or rule.kind in TAKING:
            judged = judge()
        elif rule.kind in _ACTS:
            judged = troubled(_ACTS[rule.kind], rule.retry_after)
        else:
            judged = Judged(Answer(503, (), b""), None, False)
        if ending is Ending.ANSWERED and judged.act is Act.SILENT:
            ending = Ending.SILENT
        elif ending is Ending.ANSWERED and judged.act is Act.CUT:
            ending = Ending.CUT
        self._write(provider, request, parcel, judged, ending, rule)
        delay = judged.delay + self.wait() + (rule.extra_delay() if rule is not None else 0.0)
        return Reply(ending, judged.answer, delay)

    def _write(
        self, provider: str, request: Request, parcel: Parcel, judged: Judged, ending: Ending, rule: Rule | None
    ) -> None:
        now = time.time()
        token, delivery, marker = parcel
        status: int | str = _STATUS.get(ending) or judged.answer.status
        early = token is not None and self.scenarios.early(token, delivery, now)
        answered = ending is Ending.ANSWERED
        if answered and token is not None and (judged.answer.status == 429 or judged.answer.status >= 500):
            self.scenarios.answered(token, delivery, now, judged.answer.status, judged.retry_after)
        scripted = marker is not None and (judged.act not in (None, Act.ACCEPT) or judged.delay > 0)
        fault = rule.name if rule is not None else marker.scenario if marker is not None and scripted else None
        self.requests[provider] += 1
        self.statuses[f"{provider} {status}"] += 1
        if judged.accepted:
            self.accepted[provider] += 1
        if rule is None and fault is not None:
            self.scripted[fault] += 1
        self.ledger.add(
            Line(
                at=now,
                provider=provider,
                connection=request.connection,
                token=token,
                delivery=delivery,
                body_sha256=hashlib.sha256(request.body).hexdigest(),
                status=status,
                code=judged.code,
                accepted=judged.accepted,
                retry_after=judged.retry_after if answered else None,
                fault=fault,
                ref=judged.ref,
                early=early,
            )
        )
