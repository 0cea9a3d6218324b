"""What the runner asks of the ledger: open a run, plan a page, begin a batch, settle it, probe for the end.

The batch row is the truth. Every method but `probe` works inside a transaction that the runner owns; the ledger
fulfils this protocol without importing it, and wiring joins the two.
"""

from collections.abc import Sequence
from typing import Any, Protocol
from uuid import UUID

from tocsin.terms.batches import Begun, NotBegun, Opened, Overdue, Settlement, Unfinished, Waiting
from tocsin.terms.handoffs import Accepted, AcceptedHint, Draft, Ended, PlannedHint
from tocsin.terms.outcomes import State, Status


class Book(Protocol):
    """The ledger, as far as the runner needs it. `tx` is an open transaction in the app's scope."""

    async def open(self, tx: Any, accepted: Accepted, upper: UUID | None) -> None:
        """Open the run of a notification just accepted; `upper` is the newest device it may reach."""
        ...

    async def open_page(self, tx: Any, hint: AcceptedHint) -> Opened | None:
        """Lock the run for planning this page; None if the page is planned already, or planning is over."""
        ...

    async def write_page(
        self, tx: Any, hint: AcceptedHint, drafts: Sequence[Draft], ended: Sequence[Ended], cursor: UUID | None
    ) -> Sequence[Waiting]:
        """Write the page's batches and ended deliveries; a `cursor` of None says that it was the last page."""
        ...

    async def give_up_planning(self, tx: Any, hint: AcceptedHint) -> bool:
        """Nothing could be planned: the run is `failed`, if it has no target yet."""
        ...

    async def begin(self, tx: Any, hint: PlannedHint, holder: str) -> Begun | NotBegun:
        """Take the batch under a new epoch. A suspect's devices get their ambiguous attempts here."""
        ...

    async def settle(self, tx: Any, begun: Begun, settlement: Settlement) -> Sequence[Waiting]:
        """Write ends, attempts and retry batches; raises Fenced if the batch is no longer held under this epoch."""
        ...

    async def settled(self, tx: Any, begun: Begun, left: int) -> bool:
        """Whether a settle that left so many devices was committed, where the answer to its commit was lost."""
        ...

    async def end_all(self, tx: Any, begun: Begun, state: State, code: str) -> None:
        """Settle every device left in the batch alike; raises Fenced."""
        ...

    async def split(self, tx: Any, begun: Begun) -> Sequence[Waiting]:
        """Settle the batch into two halves; raises Fenced."""
        ...

    async def give_back(self, tx: Any, begun: Begun, *, delay: float) -> None:
        """Nothing was written: free the batch, due after `delay` seconds; raises Fenced."""
        ...

    async def probe(self, tx: Any, app_id: UUID, notification_id: UUID) -> Status | None:
        """End the run if nothing of it is left, in a transaction of its own; its new status if it ended now."""
        ...

    async def change(self, tx: Any, app_id: UUID, notification_id: UUID, to: Status) -> Status | None:
        """Move the run to `to` where its status allows it; the status it had, None if there is no such run."""
        ...

    def may_move(self, was: Status, to: Status) -> bool:
        """Whether a run may go from one status to the other by a caller's wish."""
        ...

    async def unsettled(self, tx: Any, app_id: UUID, notification_id: UUID) -> Sequence[Waiting]:
        """The batches that still wait, for the hints a resumed run needs."""
        ...

    async def planning(self, tx: Any, app_id: UUID, notification_id: UUID) -> AcceptedHint | None:
        """The hint for the next page, if planning is not over."""
        ...

    async def sweep(self, tx: Any, app_id: UUID, notification_id: UUID, state: State, code: str) -> int:
        """End up to 20 batches that nobody holds, set-based; how many batches it ended."""
        ...


class Watch(Protocol):
    """What the keeper asks of the ledger, as the role that may read ids, times and states of all apps."""

    async def overdue(self, tx: Any, limit: int) -> Sequence[Overdue]:
        """Batches and pages whose hint is due, lost or late; each is stamped, so that it is found once."""
        ...

    async def unfinished(self, tx: Any, limit: int) -> Sequence[Unfinished]:
        """Runs to sweep (cancelling, or past their time) or to probe (nothing left unsettled)."""
        ...
