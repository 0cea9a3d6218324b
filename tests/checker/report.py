"""Prints what the checker found: the first violating pair with its history in all three ledgers, then the verdict.

In: the ledgers and the violations. Out: text for people.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from tests.checker import ids
from tests.checker.evidence import Client, Database, Lab, Violation
from tests.checker.rules import KINDS


def describe(violation: Violation) -> str:
    """One line: kind, subject, sentence."""
    subject = ""
    if violation.pair is not None:
        subject = ids.text("dlv", violation.pair) + " "
    elif violation.note is not None:
        subject = ids.text("ntf", violation.note) + " "
    return f"{violation.kind}: {subject}{violation.text}"


def report(
    client: Client, database: Database, lab: Lab, violations: Sequence[Violation], counts: dict[str, int]
) -> Iterator[str]:
    """The report, line by line; the last line is the verdict."""
    yield "figures: " + ", ".join(f"{name} {count}" for name, count in counts.items())
    if not violations:
        yield "verdict: 3 ledgers agree"
        return
    for kind, count in sorted(Counter(violation.kind for violation in violations).items()):
        yield f"{count:6} × {kind}: {KINDS[kind]}"
    first = next((each for each in violations if each.pair is not None), violations[0])
    yield f"first: {describe(first)}"
    yield from history(client, database, lab, first)
    yield f"verdict: {len(violations)} violation{'s' if len(violations) > 1 else ''}"


def history(client: Client, database: Database, lab: Lab, violation: Violation) -> Iterator[str]:
    """All that the three ledgers say about the subject of a violation, each ledger in order of time."""
    note, pair = violation.note, violation.pair
    if note is None:
        return
    run = database.runs.get(note)
    yield "  C, the client:"
    external = next(
        (name for (_, name), device in database.devices.items() if pair is not None and device.device == pair[16:]),
        None,
    )
    for change in client.changes:
        if external is not None and change.external_id == external:
            yield f"    {_time(change.at)} {change.what} {external} user {change.user_id} token {change.token}"
    for request in client.requests:
        if request.id == note:
            yield f"    {_time(request.at)} send, answered {request.status}: to {request.to}"
    for reading in client.readings:
        if reading.id == note:
            yield f"    {_time(reading.at)} read {reading.status} {reading.progress}"
    for kill in client.kills:
        if run is not None and kill.begun and kill.at >= run.accepted_at:
            yield f"    {_time(kill.at)} killed process {kill.pid}: {kill.begun} begun and not settled"
    yield "  D, the database:"
    if run is not None:
        yield f"    {_time(run.accepted_at)} accepted, expires {_time(run.expires_at)}"
        yield f"    now {run.status}, {run.targeted} targeted"
    if pair is not None:
        for attempt in database.attempts.get(pair, ()):
            where = f"batch {attempt.batch_no} epoch {attempt.epoch}"
            yield f"    {_time(attempt.at)} attempt {attempt.verdict} ({attempt.code}), {where}"
        for row in database.rows.get(pair, ()):
            where = f"{row.attempts} attempts, batch {row.batch_no}"
            yield f"    {_time(row.settled_at)} ended {row.state} ({row.code}), {where}"
    yield "  P, the provider:"
    if pair is not None:
        for arrival in sorted(lab.arrivals.get(pair, ()), key=lambda each: each.at):
            taken = "accepted" if arrival.accepted else "not accepted"
            yield (
                f"    {_time(arrival.at)} entry {arrival.n}: {arrival.status} {arrival.code or ''} {taken}, "
                f"retry after {arrival.retry_after}, fault {arrival.fault}, connection {arrival.connection}"
            )


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]
