"""The story of one delivery, in words: accepted, planned, each attempt, its end, what the device said afterwards.

In: rows of the ledger. Out: events in the order they make sense in, each with its time and a sentence that a person
who never read the code understands. It decides nothing and hides nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from tocsin.terms.errors import TABLE, Kind
from tocsin.terms.outcomes import State

Row = Mapping[str, Any]


class Event(NamedTuple):
    """One sentence of the story and when it happened."""

    at: datetime
    event: str
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a delivery: `end` is its terminal row, `pending` its open batch; one of them is there."""

    run: Row
    batch: Row
    pending: Row | None
    end: Row | None
    attempts: Sequence[Row]
    receipts: Sequence[Row]


def tell(facts: Facts) -> Sequence[Event]:
    """The story. What a device reported comes last, also when it was faster than the provider's answer."""
    return [
        _accepted(facts.run),
        _planned(facts),
        *_tried(facts),
        _ended(facts.end) if facts.end else _waiting(facts.pending or {}),
        *(Event(each["at"], "receipt", f"The device reported: {each['kind']}.") for each in facts.receipts),
    ]


def gloss(code: str) -> str:
    """What a code means, from the error table."""
    return TABLE[Kind.OUTCOME, code].gloss


def _accepted(run: Row) -> Event:
    until = run["expires_at"].strftime("%Y-%m-%d %H:%M:%S")
    return Event(
        run["accepted_at"], "accepted", f"The notification was accepted. It may be delivered until {until} UTC."
    )


def _planned(facts: Facts) -> Event:
    batch = facts.batch
    if batch["credential_id"] is None:
        return Event(
            batch["planned_at"], "planned", "The device was a target, and planning found nothing to send to it."
        )
    others = f" with {batch['n'] - 1} other devices" if batch["n"] > 2 else " with one other" * (batch["n"] == 2)
    provider = (facts.end or facts.pending or {})["provider"]
    return Event(
        batch["planned_at"],
        "planned",
        f"The device was planned into batch {batch['batch_no']}{others}, through {provider}.",
    )


def _tried(facts: Facts) -> Iterator[Event]:
    for number, attempt in enumerate(facts.attempts, 1):
        detail = f" The provider said: {attempt['detail']}." if attempt["detail"] else ""
        yield Event(
            attempt["at"],
            "attempt",
            f"Attempt {number} ({attempt['code']}): {gloss(attempt['code'])}{detail} {_consequence(attempt)}",
        )


def _consequence(attempt: Row) -> str:
    if attempt["verdict"] == "ambiguous":
        after = (
            "It may be sent again, so a second copy is possible."
            if attempt["due_at"] or attempt["code"] == "worker_lost"
            else "It is not sent again."
        )
        return f"Nobody can know whether the provider took it. {after}"
    if attempt["due_at"] is None:
        return "It was the last one."
    kept = "It had not left, so nothing is doubled. " if attempt["verdict"] == "unsent" else ""
    return f"{kept}It is tried again, not before {attempt['due_at'].strftime('%H:%M:%S')} UTC."


def _waiting(batch: Row) -> Event:
    if batch["begun_at"]:
        return Event(batch["begun_at"], "pending", "A worker has begun it; the answer is not recorded yet.")
    return Event(batch["due_at"], "pending", f"It waits in batch {batch['batch_no']} and is due at this time.")


def _ended(end: Row) -> Event:
    state, code = State(end["state"]), end["code"]
    attempts = f" after {end['attempts']} attempts" if end["attempts"] > 1 else ""
    if state is State.SENT:
        ref = f" Its name for it is {end['provider_ref']}." if end["provider_ref"] else ""
        return Event(end["settled_at"], state.value, f"{end['provider']} accepted it{attempts}.{ref}")
    detail = f" The provider said: {end['detail']}." if end["detail"] else ""
    fix = TABLE[Kind.OUTCOME, code].fix
    advice = "" if fix.startswith("Nothing") else f" What to do: {fix}"
    return Event(
        end["settled_at"], state.value, f"It ended as {state.value}{attempts} ({code}): {gloss(code)}{detail}{advice}"
    )
