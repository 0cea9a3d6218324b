"""A pipeline over a real database, with an audience and a provider that do as the test says."""

import asyncio
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from tocsin.lanes.control import Control
from tocsin.lanes.keeper import Keeper
from tocsin.lanes.lane import Name, Parked
from tocsin.lanes.planning import Planning
from tocsin.lanes.postgres import PostgresLane
from tocsin.lanes.returning import Returning
from tocsin.lanes.sending import Sending, Steps
from tocsin.lanes.waking import Waker
from tocsin.ledger import LedgerBook, LedgerWatch
from tocsin.terms import ids
from tocsin.terms.batches import Answers, Begun, End, Fate, Hold
from tocsin.terms.clock import SystemClock
from tocsin.terms.handoffs import (
    Accepted,
    AcceptedHint,
    Addressed,
    Draft,
    Ended,
    Learned,
    Options,
    Page,
    Plan,
    Reached,
    ReturnsHint,
    Target,
    Unreached,
)
from tocsin.terms.outcomes import Class, OnAmbiguity, State


class Killed(BaseException):
    """The worker is gone."""


def taken(device_id: UUID) -> Fate:
    return End(device_id, State.SENT, "accepted", "ref")


class Pipeline:
    """One app's notifications, planned and sent by hand or until nothing is left."""

    def __init__(self, database, keeper_database, app_id: UUID, *, page_size: int = 10_000, batch: int = 500) -> None:
        self.database, self.app_id, self.batch = database, app_id, batch
        self.clock = SystemClock()
        self.lanes = {name: PostgresLane(name, database, self.clock) for name in Name}
        self.book = LedgerBook()
        self.woken: list[str] = []
        self.waker = Waker(self._notify, self.clock)
        self.credential_id = ids.new()
        self.devices: list[UUID] = []
        self.unreached: dict[UUID, str] = {}
        self.fate: Callable[[UUID, Begun], Fate] = lambda device_id, _: taken(device_id)
        self.dead: list[Learned] = []
        self.ready: object = "line"
        self.copies: dict[UUID, int] = {}
        self.sizes: list[int] = []
        self.noted: list[Fate] = []
        self.forgotten: list[Learned] = []
        self.kill_at: Callable[[str], None] = lambda point: None
        self.chunks = 1
        self.accepted: dict[UUID, Accepted] = {}
        common: dict[str, Any] = {"database": database, "book": self.book, "waker": self.waker}
        lanes: dict[str, Any] = {"accepted": self.lanes[Name.ACCEPTED], "planned": self.lanes[Name.PLANNED]}
        self.planning = Planning(
            **common, **lanes, recall=self._recall, address=self._address, plan=self._plan, page_size=page_size
        )
        self.sending = Sending(
            **common,
            planned=self.lanes[Name.PLANNED],
            returns=self.lanes[Name.RETURNS],
            steps=Steps(self._reach, self._prepare, self._send, self._note),
            clock=self.clock,
            holder="here:1:x",
        )
        self.returning = Returning(database=database, returns=self.lanes[Name.RETURNS], forget=self._forget)
        self.control = Control(**common, **lanes)
        self.keeper = Keeper(
            database=keeper_database,
            watch=LedgerWatch(),
            control=self.control,
            accepted=PostgresLane(Name.ACCEPTED, keeper_database, self.clock),
            planned=PostgresLane(Name.PLANNED, keeper_database, self.clock),
            waker=self.waker,
            chores=[],
            clock=self.clock,
        )

    # ------------------------------------------------------------------ the rooms, as the test wants them

    async def _notify(self, _: str, payload: str) -> None:
        self.woken.append(payload)

    async def _recall(self, _tx, _app, notification_id: UUID) -> Accepted:
        return self.accepted[notification_id]

    async def _address(self, _tx, _accepted, after, upper, limit) -> Page:
        found = [one for one in self.devices if (after is None or one > after) and (upper is None or one <= upper)]
        page = [Addressed(one, "fcm") for one in found[:limit]]
        return Page(page, page[-1].device_id if len(found) > limit else None)

    async def _plan(self, _tx, _accepted, page: Page) -> Plan:
        ids_ = [one.device_id for one in page.devices if self.unreached.get(one.device_id) != "at planning"]
        ended = [
            Ended(one.device_id, "fcm", State.FAILED, "no_credential")
            for one in page.devices
            if self.unreached.get(one.device_id) == "at planning"
        ]
        return Plan(
            [Draft(self.credential_id, "fcm", ids_[i : i + self.batch], 0.0) for i in range(0, len(ids_), self.batch)],
            ended,
        )

    async def _reach(self, _tx, _app, device_ids, _planned_at):
        gone = [Unreached(one, self.unreached[one]) for one in device_ids if one in self.unreached]
        return [Reached(one, "token", 1, None) for one in device_ids if one not in self.unreached], gone

    async def _prepare(self, _tx, _begun):
        return self.ready

    async def _send(self, _ready, begun: Begun, reached: Sequence[Reached]):
        self.kill_at("after begin")
        self.sizes.append(len(reached))
        each = -(-len(reached) // self.chunks)
        for start in range(0, len(reached), each):
            part = reached[start : start + each]
            fates = [self.fate(one.device_id, begun) for one in part]
            for fate in fates:
                taken_over = isinstance(fate, End) and fate.state is State.SENT
                self.copies[fate.device_id] = self.copies.get(fate.device_id, 0) + taken_over
            self.kill_at("mid-send")
            yield Answers(fates, self.dead)
            self.kill_at("after settle")

    async def _note(self, _tx, _ready, fates) -> None:
        self.kill_at("before settle")
        self.noted += fates

    async def _forget(self, _tx, hint: ReturnsHint) -> int:
        self.forgotten += hint.dead
        return len(hint.dead)

    # ------------------------------------------------------------------ driving it

    async def accept(
        self,
        devices: int = 0,
        *,
        ttl: float = 3600,
        on_ambiguity: OnAmbiguity = OnAmbiguity.RESEND,
        lane_class: Class = Class.BULK,
        hint: bool = True,
    ) -> UUID:
        self.devices = sorted({*self.devices, *(ids.new() for _ in range(devices))})
        notification_id = ids.new()
        now = datetime.now(UTC)
        options = Options(int(max(ttl, 0)), "high", None, on_ambiguity, lane_class)
        accepted = Accepted(self.app_id, notification_id, Target(all=True), options, now, now + timedelta(seconds=ttl))
        self.accepted[notification_id] = accepted
        async with self.database.scope(self.app_id) as tx:
            await self.book.open(tx, accepted, self.devices[-1] if self.devices else None)
            if hint:
                first = AcceptedHint(self.app_id, notification_id, 0)
                await self.lanes[Name.ACCEPTED].put(tx, [Parked(first, lane_class)])
        return notification_id

    async def step(self, lane: Name, limit: int = 10) -> int:
        """Carry what a lane has, one by one; how many hints there were."""
        stage: Any = {Name.ACCEPTED: self.planning, Name.PLANNED: self.sending, Name.RETURNS: self.returning}[lane]
        claimed = await self.lanes[lane].claim(limit, 40)
        for one in claimed:
            try:
                await stage(one)
            except Killed:
                await self.expire_leases()
        return len(claimed)

    async def drain(self, rounds: int = 200) -> None:
        """Work until nothing is left for three looks of the keeper."""
        idle = 0
        for _ in range(rounds):
            worked = sum([await self.step(name) for name in Name])
            if not worked:
                await self.hurry()
                await self.keeper.tick()
                idle += 1
            else:
                idle = 0
            if idle == 3:
                return
        raise AssertionError("it does not come to rest")

    async def expire_leases(self) -> None:
        """The time of a dead worker's lease passes."""
        await self._all(
            "update ledger.batches set lease_until = now() - interval '1 s', woken_at = now() - interval '31 s' "
            "where lease_until is not null"
        )

    async def hurry(self) -> None:
        """The time that everything waits for has come."""
        await self._all(
            "update ledger.batches set due_at = now() - interval '1 s', woken_at = now() - interval '6 min' "
            "where settled_at is null and begun_at is null"
        )
        await self._all(
            "update ledger.runs set woken_at = now() - interval '1 min', updated_at = now() - interval '3 s'"
        )
        async with self.database.transaction() as tx:
            await tx.execute("update lanes.messages set visible_at = null")

    async def _all(self, statement: str) -> None:
        async with self.database.scope(self.app_id) as tx:
            await tx.execute(statement)

    async def rows(self, statement: str, *args):
        async with self.database.scope(self.app_id) as tx:
            return await tx.fetch(statement, *args)

    async def value(self, statement: str, *args):
        return (await self.rows(statement, *args))[0][0]

    async def status(self, notification_id: UUID) -> Any:
        return await self.value("select status from ledger.runs where notification_id = $1", notification_id)

    async def states(self, notification_id: UUID) -> dict[str, int]:
        rows = await self.rows(
            "select state || ':' || code as what, count(*)::int as n from ledger.deliveries "
            "where notification_id = $1 group by 1",
            notification_id,
        )
        return {row["what"]: row["n"] for row in rows}

    async def agree(self, notification_id: UUID) -> None:
        """Counters equal rows, every target has one end, copies are covered by ambiguous attempts."""
        run = (await self.rows("select * from ledger.runs where notification_id = $1", notification_id))[0]
        rows = await self.rows(
            "select state, count(*)::int as n from ledger.deliveries where notification_id = $1 group by 1",
            notification_id,
        )
        counted = {state: n for state, n in run["counts"].items() if n}
        assert counted == {row["state"]: row["n"] for row in rows}
        assert sum(counted.values()) == run["targeted"]
        ambiguous = await self.rows(
            "select device_id, count(*)::int as n from ledger.attempts "
            "where notification_id = $1 and verdict = 'ambiguous' group by 1",
            notification_id,
        )
        covered = {row["device_id"]: row["n"] for row in ambiguous}
        for device_id, copies in self.copies.items():
            assert copies - 1 <= covered.get(device_id, 0), "a second copy without an ambiguous attempt"


def die_at(point: str, chance: float, seed: int) -> Callable[[str], None]:
    """Kill the worker at a point, now and then, or at any point ('')."""
    dice = random.Random(seed)

    def kill(where: str) -> None:
        if point in ("", where) and dice.random() < chance:
            raise Killed(where)

    return kill


async def settle_down() -> None:
    """Let wake-ups go out."""
    await asyncio.sleep(0.02)


__all__ = ["Hold", "Killed", "Pipeline", "die_at", "settle_down", "taken"]
