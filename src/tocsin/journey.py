"""The map: a delivery's way through the house, one row a stage. Read this, then the list of folders.

    caller ─► intake ─►│accepted│─► audience ─► schedule ─►│planned│─► content ─► dispatch ─► ledger
              accept    (lane)      address      plan       (lane)     render      send       record
                                       ▲                                             │
                                       └───────────│returns│◄── what sending learned ┘

A stage *inside* runs in one transaction, from the claim of its hint to the acknowledgement. A stage *outside* begins
(committed), works with no connection held, and settles (committed). Lanes carry ids; rows tell the truth; every
delivery ends once, in the ledger.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tocsin import audience, content, dispatch, intake, ledger, schedule
from tocsin.lanes.lane import Name


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: the lane that feeds it, what reads its item again, its steps in order, and who records the end.

    `lane` is None at the door, where a caller waits for the answer.
    """

    lane: Name | None
    inside: bool
    load: Callable[..., Any] | None
    steps: tuple[Callable[..., Any], ...]
    record: Callable[..., Any] | None
    story: str


ACCEPT: Final = Stage(
    None, True, None, (intake.accept,), ledger.LedgerBook.open,
    "A caller's request becomes an immutable notification on disk; only then is it answered.",
)  # fmt: skip
PLAN: Final = Stage(
    Name.ACCEPTED, True, intake.recall, (audience.address, schedule.plan), ledger.LedgerBook.write_page,
    "A page of its audience becomes batches of at most 500 devices, each through one credential.",
)  # fmt: skip
SEND: Final = Stage(
    Name.PLANNED, False, audience.reach, (content.render, dispatch.send), ledger.LedgerBook.settle,
    "A batch is begun, rendered and sent; each answer is an end or a later batch.",
)  # fmt: skip
RETURN: Final = Stage(
    Name.RETURNS, True, None, (audience.forget,), None,
    "What sending learned of dead tokens goes back to the devices.",
)  # fmt: skip

JOURNEY: Final = (ACCEPT, PLAN, SEND, RETURN)
