"""Reads P, the lab's ledger: one JSON object for each provider request that arrived whole.

Gives arrivals by delivery, and by token those whose delivery id the lab could not read (a real browser's messages are
encrypted to the browser). Refuses a line that is not one of the ledger.
"""

import json
from pathlib import Path

from tests.checker import ids
from tests.checker.client_log import Unreadable
from tests.checker.evidence import Arrival, Lab


def read(path: Path) -> Lab:
    """Everything in the ledger at `path`; raises Unreadable with the line's number."""
    lab = Lab()
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                item = json.loads(line)
                arrival = Arrival(
                    n=item["n"],
                    at=item["at"],
                    provider=item["provider"],
                    token=item["token"] or "",
                    status=item["status"],
                    code=item["code"],
                    accepted=item["accepted"],
                    retry_after=item["retry_after"],
                    fault=item["fault"],
                    connection=str(item["connection"]),
                )
                if item["delivery"] is None:
                    lab.opaque.setdefault(arrival.token, []).append(arrival)
                else:
                    lab.arrivals.setdefault(ids.octets(item["delivery"], "dlv"), []).append(arrival)
            except (ValueError, KeyError, TypeError) as wrong:
                raise Unreadable(f"{path}, line {number}: {type(wrong).__name__} {wrong}") from wrong
    return lab
