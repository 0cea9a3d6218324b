"""What must hold of whole notifications and of the whole run: counters, leftovers, ambiguity, injections.

In: the ledgers. Out: violations, and separately the injections that were stated and did not happen.
"""

from collections import Counter
from collections.abc import Iterator

from tests.checker.database import STATES
from tests.checker.evidence import Client, Database, Lab, Violation
from tests.checker.rules import CUT
from tests.checker.targets import ENDED


def notifications(client: Client, database: Database) -> Iterator[Violation]:
    """Counters against rows and leftovers, for every notification the client was told is accepted."""
    rows: dict[bytes, Counter[str]] = {}
    for pair, terminal in database.rows.items():
        rows.setdefault(pair[:16], Counter()).update(row.state for row in terminal)
    for note in sorted({request.id for request in client.requests if request.id is not None}):
        run = database.runs.get(note)
        if run is None:
            yield Violation("lost", "the database does not have a notification that was answered with 2xx", note)
            continue
        counted = {state: rows.get(note, Counter())[state] for state in STATES}
        if run.status not in ENDED:
            yield Violation("unsettled", f"the notification is still {run.status}", note)
        for batch in database.batches.get(note, ()):
            if not batch.settled:
                yield Violation("unsettled", f"batch {batch.batch_no} has {batch.left} deliveries left", note)
            elif batch.left:
                yield Violation("unsettled", f"batch {batch.batch_no} is settled and still lists {batch.left}", note)
        yield from _counters(client, database, note, counted)
    known = {request.id for request in client.requests}
    for note in sorted(set(database.runs) - known):
        yield Violation("phantom", "the database has a notification that the client was never told of", note)


def _counters(client: Client, database: Database, note: bytes, counted: dict[str, int]) -> Iterator[Violation]:
    run = database.runs[note]
    total = sum(counted.values())
    if run.status in ENDED and run.targeted != total:
        yield Violation("counter", f"targeted {run.targeted}, terminal rows {total}", note)
    if run.counts is not None:
        told = {state: run.counts.get(state, 0) for state in STATES}
        if told != counted:
            yield Violation("counter", f"the run counts {_differ(told, counted)}", note)
    last = [reading for reading in client.readings if reading.id == note][-1:]
    for reading in last:
        told = {state: reading.progress.get(state, 0) for state in STATES}
        if reading.status in ENDED and told != counted:
            yield Violation("counter", f"the API says {_differ(told, counted)}", note)
        if reading.status in ENDED and (reading.progress["targeted"] != total or reading.progress["pending"] != 0):
            said = f"targeted {reading.progress['targeted']}, pending {reading.progress['pending']}"
            yield Violation("counter", f"the API says {said}; terminal rows {total}", note)
        if reading.status in ENDED and reading.status != run.status:
            yield Violation("counter", f"the API says {reading.status}, the run {run.status}", note)
    sums: Counter[str] = Counter()
    for batch in database.batches.get(note, ()):
        sums.update(batch.counts)
    told = {state: sums[state] for state in STATES}
    if told != counted:
        yield Violation("counter", f"the batches count {_differ(told, counted)}", note)


def _differ(told: dict[str, int], counted: dict[str, int]) -> str:
    pairs = [(state, told[state], counted[state]) for state in STATES if told[state] != counted[state]]
    return ", ".join(f"{state} {said}, rows {rows}" for state, said, rows in pairs)


def replies(client: Client) -> Iterator[Violation]:
    """One key, one answer; and nothing left unknown."""
    answers: dict[tuple[bytes, str], set[tuple[bytes | None, str]]] = {}
    for request in client.requests:
        if request.key is not None and request.id is not None:
            answers.setdefault((request.app, request.key), set()).add((request.id, request.body_sha256))
    for (_, key), given in sorted(answers.items()):
        if len(given) > 1:
            yield Violation("idempotence", f"key {key!r} was answered {len(given)} different ways")
    for request in client.requests:
        if request.status is None and (request.key is None or (request.app, request.key) not in answers):
            yield Violation("unresolved", f"line {request.line} of the client's log has no reply")


def figures(client: Client, database: Database, lab: Lab) -> dict[str, int]:
    """The counts of a run, for the report and for the bound on ambiguity."""
    verdicts = Counter(attempt.verdict for several in database.attempts.values() for attempt in several)
    judged = {pair: arrivals for pair, arrivals in lab.arrivals.items() if pair[:16] in database.runs}
    opaque = [arrival for arrivals in lab.opaque.values() for arrival in arrivals]
    reached = [*(arrival for arrivals in judged.values() for arrival in arrivals), *opaque]
    copies = (sum(arrival.accepted for arrival in arrivals) for arrivals in judged.values())
    return {
        "notifications": len(database.runs),
        "deliveries": len(database.rows),
        "arrivals": len(reached),
        "copies": sum(accepted - 1 for accepted in copies if accepted > 1),
        "ambiguous": verdicts["ambiguous"],
        "retried": verdicts["throttled"] + verdicts["transient"],
        "cuts": sum(arrival.status in CUT for arrival in reached),
        "kills": len(client.kills),
        "kills_that_hit": sum(kill.begun > 0 for kill in client.kills),
        "begun_at_kills": sum(kill.begun for kill in client.kills),
    }


def ambiguity(counts: dict[str, int]) -> Iterator[Violation]:
    """Ambiguous attempts ≤ injected cuts + what was begun and unsettled at the kills."""
    bound = counts["cuts"] + counts["begun_at_kills"]
    if counts["ambiguous"] > bound:
        yield Violation("ambiguity", f"{counts['ambiguous']} ambiguous attempts, explained {bound}")


def missing_injections(client: Client, lab: Lab, counts: dict[str, int]) -> list[str]:
    """What the run stated it would inject and did not: names of figures, or `fault:NAME` as the lab's ledger has it."""
    faults: Counter[str] = Counter()
    for several in (*lab.arrivals.values(), *lab.opaque.values()):
        faults.update(f"fault:{each.fault}" for each in several if each.fault is not None)
    happened = {**counts, **faults}
    return [
        f"{name}: stated at least {least}, happened {happened.get(name, 0)}"
        for name, least in sorted(client.stated.items())
        if happened.get(name, 0) < least
    ]
