"""The lane on PostgreSQL: claims with SKIP LOCKED, leases by a counter, fair share by tags.

A message's tag is its app's virtual finish time: `max(now, the app's last tag) + cost`. A claim takes the lowest tags,
so that a newcomer is served soon however much one app has waiting. No row is hot: tags are computed in memory.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from tocsin.lanes.lane import LONGEST_DELAY, Claimed, Name, Parked
from tocsin.storage import Database, Queries, Tx
from tocsin.terms.clock import Clock
from tocsin.terms.handoffs import AcceptedHint, Hint, Learned, PlannedHint, ReturnsHint
from tocsin.terms.outcomes import Class

SQL = Queries.beside(__file__)

_RIPEN_EVERY: Final = 0.25
"""Seconds between looks for delayed messages whose time has come, in each process."""
_BULK_SHARE: Final = 10
"""Every tenth claim takes `bulk` first."""
_REMEMBERED_APPS: Final = 10_000


def write(hint: Hint) -> dict[str, Any]:
    """A hint as the lane's body: ids and numbers only, the app apart."""
    match hint:
        case AcceptedHint(_, notification_id, plan_seq):
            return {"notification": notification_id.hex, "plan_seq": plan_seq}
        case PlannedHint(_, notification_id, batch_no):
            return {"notification": notification_id.hex, "batch_no": batch_no}
        case ReturnsHint(_, dead):
            return {"dead": [[one.device_id.hex, one.version, one.dead_at and one.dead_at.isoformat()] for one in dead]}


def read(name: Name, app_id: UUID, body: dict[str, Any]) -> Hint:
    """The hint in a lane's body."""
    match name:
        case Name.ACCEPTED:
            return AcceptedHint(app_id, UUID(hex=body["notification"]), body["plan_seq"])
        case Name.PLANNED:
            return PlannedHint(app_id, UUID(hex=body["notification"]), body["batch_no"])
        case Name.RETURNS:
            return ReturnsHint(
                app_id,
                tuple(Learned(UUID(hex=i), v, datetime.fromisoformat(at) if at else None) for i, v, at in body["dead"]),
            )


class PostgresLane:
    """One lane of `lanes.messages` (contract: `lanes.lane.Lane`)."""

    def __init__(self, name: Name, database: Database, clock: Clock) -> None:
        self.name = name
        self._database = database
        self._clock = clock
        self._virtual = 0.0
        self._last_tags: dict[UUID, float] = {}
        self._looked_at = float("-inf")
        self._ripened_at = float("-inf")
        self._claims = 0

    async def put(self, tx: Tx, hints: Sequence[Parked]) -> None:
        """Add hints, visible once `tx` commits."""
        if not hints:
            return
        if self._clock.monotonic() - self._looked_at > 1.0:
            self._looked_at = self._clock.monotonic()
            self._virtual = max(self._virtual, await tx.fetchval(SQL.head, self.name) or 0.0)
        await tx.execute(
            SQL.put,
            self.name,
            [parked.lane_class for parked in hints],
            [self._tag(parked.hint.app_id, parked.cost) for parked in hints],
            [parked.hint.app_id for parked in hints],
            [write(parked.hint) for parked in hints],
            [min(parked.delay, LONGEST_DELAY) for parked in hints],
        )

    def _tag(self, app_id: UUID, cost: int) -> float:
        tag = max(self._virtual, self._last_tags.pop(app_id, 0.0)) + cost
        self._last_tags[app_id] = tag
        if len(self._last_tags) > _REMEMBERED_APPS:
            del self._last_tags[next(iter(self._last_tags))]
        return tag

    async def claim(self, limit: int, visibility: float) -> Sequence[Claimed]:
        """Take up to `limit` hints, `now` first; every tenth claim takes `bulk` first."""
        self._claims += 1
        classes = [Class.NOW, Class.BULK]
        if self._claims % _BULK_SHARE == 0:
            classes.reverse()
        async with self._database.transaction() as tx:
            if self._clock.monotonic() - self._ripened_at > _RIPEN_EVERY:
                self._ripened_at = self._clock.monotonic()
                await tx.execute(SQL.ripen)
            rows = await tx.fetch(SQL.claim, self.name, *classes, limit, visibility)
        if rows:
            self._virtual = max(self._virtual, *(row["tag"] for row in rows))
        return [
            Claimed(
                row["message_id"],
                row["app_id"],
                read(self.name, row["app_id"], row["body"]),
                Class(row["class"]),
                row["receives"],
                row["lease"],
            )
            for row in sorted(rows, key=lambda row: (row["class"] != classes[0], row["tag"]))
        ]

    async def extend(self, claimed: Sequence[Claimed], visibility: float) -> None:
        """Hold on to them for `visibility` seconds from now."""
        async with self._database.transaction() as tx:
            await tx.execute(SQL.extend, *_keys(claimed), visibility)

    async def ack(self, tx: Tx | None, claimed: Sequence[Claimed]) -> None:
        """Done: remove them, in `tx` if given. A hint that someone else has claimed meanwhile stays."""
        if tx is not None:
            await tx.execute(SQL.ack, *_keys(claimed))
            return
        async with self._database.transaction() as own:
            await own.execute(SQL.ack, *_keys(claimed))

    async def release(self, claimed: Sequence[Claimed], delay: float = 0.0) -> None:
        """Give them back, visible after `delay` seconds."""
        await self.extend(claimed, min(delay, LONGEST_DELAY))


def _keys(claimed: Sequence[Claimed]) -> tuple[list[int], list[int]]:
    return [one.message_id for one in claimed], [one.lease for one in claimed]
