"""`python -m tests.checker --client LOG --dsn DSN --lab LEDGER [--app APP]`: do the three ledgers agree?

Exit 0: they do. 1: a violation. 2: the run did not inject what it stated, so it proves nothing. 3: a ledger is
unreadable.
"""

import argparse
import asyncio
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from tests.checker import client_log, database, ids, lab_log, totals
from tests.checker.evidence import Client, Database, Lab, Violation
from tests.checker.report import report
from tests.checker.rules import Deliveries
from tests.checker.targets import expect


def only(client: Client, apps: Collection[bytes]) -> Client:
    """The client's log without what other apps did; kills and statements concern all."""
    requests = [request for request in client.requests if request.app in apps]
    notes = {request.id for request in requests}
    return Client(
        changes=[change for change in client.changes if change.app in apps],
        requests=requests,
        readings=[reading for reading in client.readings if reading.id in notes],
        kills=client.kills,
        cancelled=client.cancelled,
        floors=client.floors,
        stated=client.stated,
    )


def judge(client: Client, found: Database, lab: Lab, *, slack: float) -> tuple[list[Violation], dict[str, int]]:
    """All violations, and the figures of the run."""
    counts = totals.figures(client, found, lab)
    violations = [
        *totals.replies(client),
        *Deliveries(client, found, lab, expect(client), slack=slack).violations(),
        *totals.notifications(client, found),
        *totals.ambiguity(counts),
    ]
    return violations, counts


def main(arguments: Sequence[str] | None = None) -> int:
    """Read, judge, print; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.checker", description=__doc__)
    parser.add_argument("--client", type=Path, required=True, help="the client's reply log")
    parser.add_argument("--dsn", required=True, help="the database, as a role that reads all rows and writes none")
    parser.add_argument("--lab", type=Path, required=True, help="the lab's ledger")
    parser.add_argument("--app", action="append", help="judge this app only (may be repeated)")
    parser.add_argument("--slack", type=float, default=12.0, help="seconds after its expiry a request may arrive")
    options = parser.parse_args(arguments)
    try:
        client = client_log.read(options.client)
        apps = {ids.octets(app, "app") for app in options.app or ()}
        apps = apps or {change.app for change in client.changes} | {request.app for request in client.requests}
        client = only(client, apps)
        lab = lab_log.read(options.lab)
        found = asyncio.run(database.read(options.dsn, apps))
    except (client_log.Unreadable, database.Blind, OSError) as unreadable:
        print(f"cannot read a ledger: {unreadable}", file=sys.stderr)
        return 3
    violations, counts = judge(client, found, lab, slack=options.slack)
    for line in report(client, found, lab, violations, counts):
        print(line)
    missing = totals.missing_injections(client, lab, counts)
    for line in missing:
        print(f"not injected: {line}")
    if violations:
        return 1
    return 2 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
