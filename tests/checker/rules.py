"""What every single delivery must satisfy, joined over the three ledgers by delivery id.

In: the ledgers. Out: violations of these kinds, each a sentence. Refuses nothing: what cannot be joined is a violation.
"""

from collections.abc import Iterator

from tests.checker.evidence import Arrival, Client, Database, Lab, Pair, Row, Violation
from tests.checker.targets import Expected

KINDS = {
    "lost": "accepted by the API, but a target has no terminal row",
    "phantom": "sent or recorded, but never asked for",
    "duplicate": "more copies accepted by the provider than attempts recorded as ambiguous allow",
    "double_terminal": "more than one terminal row",
    "sent_unseen": "recorded as sent, but the provider never accepted it",
    "refused_unseen": "recorded as refused by the provider, but the provider never refused it",
    "seen_unsent": "accepted by the provider, but recorded as neither sent nor ambiguous",
    "dropped_twice": "on_ambiguity is drop and a second copy left",
    "late": "reached the provider after its time to live",
    "early": "tried again before the provider allowed it",
    "attempt_twice": "an attempt is recorded more often than it happened",
    "attempt_missing": "the provider put a try off and no attempt is recorded",
    "misdelivered": "went to a token that its device never registered",
    "counter": "a counter differs from the rows it counts",
    "unsettled": "work is left over",
    "ambiguity": "more ambiguous attempts than cuts and kills explain",
    "idempotence": "one idempotency key has two answers",
    "unresolved": "a request whose reply never came was not sent again",
}

CUT = frozenset({"cut", "silent"})
_ANSWERS = range(200, 300)
_UNWELL = range(500, 600)
_GONE = frozenset({404, 410})
_BY_PROVIDER = frozenset({"unregistered", "invalid_token", "sender_mismatch", "invalid_payload"})
"""Codes of `rejected` that only a provider's answer can give; the others are found before sending."""


class Deliveries:
    """The rules for deliveries. `slack` is how many seconds after its expiry a request may still arrive."""

    def __init__(
        self, client: Client, database: Database, lab: Lab, expected: dict[bytes, Expected], *, slack: float
    ) -> None:
        self._client, self._database, self._lab, self._slack = client, database, lab, slack
        self._accepted = {request.id: request for request in client.requests if request.id is not None}
        self._may: dict[bytes, set[bytes]] = {}
        self._must: dict[bytes, set[bytes]] = {}
        self._unknown: list[tuple[bytes, str]] = []
        self._tokens: dict[tuple[bytes, bytes], set[str]] = {}
        self._opaque_devices: set[bytes] = set()
        self._gone = self._first_refusals()
        self._resolve(expected)

    def _first_refusals(self) -> dict[bytes, tuple[float, bytes]]:
        """For every device that a provider called gone: when first, and of which notification."""
        gone: dict[bytes, tuple[float, bytes]] = {}
        for pair, arrivals in self._lab.arrivals.items():
            for arrival in arrivals:
                if arrival.status in _GONE and arrival.at < gone.get(pair[16:], (float("inf"),))[0]:
                    gone[pair[16:]] = (arrival.at, pair[:16])
        return gone

    def _resolve(self, expected: dict[bytes, Expected]) -> None:
        devices = self._database.devices
        for note, who in expected.items():
            app = self._accepted[note].app
            must, may = set(), set()
            for external in who.may:
                device = devices.get((app, external))
                if device is not None:
                    may.add(device.device)
                    if external in who.must:
                        must.add(device.device)
                elif external in who.must:
                    self._unknown.append((note, external))
            self._must[note], self._may[note] = must, may
        for change in self._client.changes:
            device = devices.get((change.app, change.external_id))
            if change.token is not None and device is not None:
                self._tokens.setdefault((change.app, device.device), set()).add(change.token)
                if change.token in self._lab.opaque:
                    self._opaque_devices.add(device.device)

    def violations(self) -> Iterator[Violation]:
        """Every violation of a rule for deliveries: the lost first, then in order of delivery id."""
        for note, external in self._unknown:
            yield Violation("lost", f"device {external!r} was registered, but the database does not have it", note)
        for note in sorted(self._must):
            yield from self._lost(note)
        for pair in sorted({*self._database.rows, *self._lab.arrivals, *self._database.attempts}):
            yield from self._pair(pair)
        yield from self._opaque()

    def _lost(self, note: bytes) -> Iterator[Violation]:
        if note in self._client.cancelled:
            return  # who was planned by then has a row, or the number of targets differs from the rows
        for device in sorted(self._must[note]):
            if note + device in self._database.rows:
                continue
            at, other = self._gone.get(device, (float("inf"), note))
            if other != note and at < self._ended(note):
                continue  # retired by an earlier notification, so not a target of this one
            yield Violation("lost", "no terminal row for a device that the client's target names", note, note + device)

    def _ended(self, note: bytes) -> float:
        """An instant after which nothing about the notification was decided any more."""
        return max((reading.at for reading in self._client.readings if reading.id == note), default=float("inf"))

    def _pair(self, pair: Pair) -> Iterator[Violation]:
        note, device = pair[:16], pair[16:]
        rows = self._database.rows.get(pair, [])
        arrivals = self._lab.arrivals.get(pair, [])
        request = self._accepted.get(note)
        if request is None:
            if note not in self._database.owners or note in self._database.runs:
                yield Violation("phantom", "the client was never told that this notification is accepted", note, pair)
            return
        if device not in self._may[note]:
            yield Violation("phantom", "the device is not in the target that the client asked for", note, pair)
        if len(rows) > 1:
            yield Violation("double_terminal", f"{len(rows)} terminal rows", note, pair)
        if not rows:
            if device not in self._must[note] or note in self._client.cancelled:  # else it is reported as lost
                yield Violation(
                    "phantom", "the provider or the attempts know a delivery without a terminal row", note, pair
                )
            return
        yield from self._copies(pair, rows[0], arrivals, drop=request.drop)
        yield from self._times(pair, request.app, arrivals)
        yield from self._attempts(pair, arrivals)
        known = self._tokens.get((request.app, device))
        for arrival in arrivals:
            if known and arrival.token not in known:
                yield Violation("misdelivered", f"went to {arrival.token!r}", note, pair)

    def _copies(self, pair: Pair, row: Row, arrivals: list[Arrival], *, drop: bool) -> Iterator[Violation]:
        if pair[16:] in self._opaque_devices:
            return  # counted by token
        copies = sum(arrival.accepted for arrival in arrivals)
        ambiguous = sum(attempt.verdict == "ambiguous" for attempt in self._database.attempts.get(pair, ()))
        note = pair[:16]
        refusals = sum(isinstance(arrival.status, int) and arrival.status >= 400 for arrival in arrivals)
        if row.state == "rejected" and row.code in _BY_PROVIDER and refusals == 0:
            yield Violation("refused_unseen", f"rejected as {row.code}", note, pair)
        if row.state == "sent":
            if not any(arrival.accepted and arrival.status in _ANSWERS for arrival in arrivals):
                yield Violation("sent_unseen", KINDS["sent_unseen"], note, pair)
            if copies > 1 + ambiguous:
                yield Violation("duplicate", f"{copies} copies, {ambiguous} ambiguous attempts", note, pair)
        elif copies > ambiguous:
            kind = "seen_unsent" if ambiguous == 0 else "duplicate"
            yield Violation(kind, f"{copies} copies, {ambiguous} ambiguous attempts, {row.state}", note, pair)
        if drop and copies > 1:
            yield Violation("dropped_twice", f"{copies} copies", note, pair)

    def _times(self, pair: Pair, app: bytes, arrivals: list[Arrival]) -> Iterator[Violation]:
        note = pair[:16]
        run = self._database.runs.get(note)
        floors = self._client.floors.get(app, {})
        ready = 0.0
        for arrival in sorted(arrivals, key=lambda each: each.at):
            if run is not None and arrival.at > run.expires_at + self._slack:
                late = arrival.at - run.expires_at
                yield Violation("late", f"arrived {late:.3f} s after its time to live", note, pair)
            if arrival.at < ready:
                yield Violation("early", f"arrived {ready - arrival.at:.3f} s before its time", note, pair)
            wait = arrival.retry_after
            if wait is None and arrival.status == 429:
                wait = floors.get("throttled")
            elif wait is None and arrival.status in _UNWELL:
                wait = floors.get("transient")
            ready = arrival.at + wait if wait is not None else 0.0

    def _attempts(self, pair: Pair, arrivals: list[Arrival]) -> Iterator[Violation]:
        attempts = self._database.attempts.get(pair, [])
        note = pair[:16]
        places = [(attempt.batch_no, attempt.epoch) for attempt in attempts]
        if len(set(places)) < len(places):
            yield Violation("attempt_twice", "two attempts of one batch and epoch", note, pair)
        if pair[16:] in self._opaque_devices:
            return
        refused = sum(attempt.verdict in ("throttled", "transient") for attempt in attempts)
        unsure = sum(attempt.verdict in ("ambiguous", "credential_fault") for attempt in attempts)
        seen = sum(arrival.status == 429 or arrival.status in _UNWELL for arrival in arrivals)
        if refused > seen:
            yield Violation("attempt_twice", f"{refused} attempts put off, the provider put off {seen}", note, pair)
        if seen > refused + unsure:
            yield Violation("attempt_missing", f"the provider put off {seen}, {refused} attempts put off", note, pair)

    def _opaque(self) -> Iterator[Violation]:
        """Messages that only a browser can read: accepted for a token as often as its device has `sent`."""
        sent: dict[bytes, int] = {}
        unsure: dict[bytes, int] = {}
        for pair, rows in self._database.rows.items():
            if pair[16:] in self._opaque_devices:
                sent[pair[16:]] = sent.get(pair[16:], 0) + sum(row.state == "sent" for row in rows)
                tries = self._database.attempts.get(pair, ())
                unsure[pair[16:]] = unsure.get(pair[16:], 0) + sum(each.verdict == "ambiguous" for each in tries)
        for (_, device), tokens in self._tokens.items():
            if device not in self._opaque_devices:
                continue
            copies = sum(arrival.accepted for token in tokens for arrival in self._lab.opaque.get(token, ()))
            if not sent.get(device, 0) <= copies <= sent.get(device, 0) + unsure.get(device, 0):
                yield Violation(
                    "duplicate" if copies > sent.get(device, 0) else "sent_unseen",
                    f"{copies} copies for a token, {sent.get(device, 0)} sent, {unsure.get(device, 0)} ambiguous",
                )
