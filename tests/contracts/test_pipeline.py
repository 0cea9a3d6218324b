"""Planning, sending and settling over a real database: what becomes of every device, whatever happens to workers."""

import asyncio
import contextlib
import dataclasses
from uuid import UUID

import pytest
from tests.contracts.pipeline import Hold, Killed, Pipeline, die_at, settle_down, taken

from tocsin.lanes.lane import Name, Parked
from tocsin.storage import CommitUnknown, Unavailable, UniqueViolation
from tocsin.terms.batches import Answers, Attempt, End, Fenced, NotBegun, Retry, Settlement, Why
from tocsin.terms.clock import SystemClock
from tocsin.terms.errors import Refused
from tocsin.terms.handoffs import Learned, PlannedHint, Stopped
from tocsin.terms.outcomes import Class, OnAmbiguity, State


@pytest.fixture
def pipeline(database, keeper_database, demo_app):
    return Pipeline(database, keeper_database, demo_app.app_id)


THROTTLED = Attempt("throttled", "throttled", "QUOTA_EXCEEDED")


async def test_every_device_of_a_broadcast_is_sent_once_page_by_page(database, keeper_database, demo_app):
    pipeline = Pipeline(database, keeper_database, demo_app.app_id, page_size=40, batch=15)
    notification = await pipeline.accept(100)
    await pipeline.drain()
    assert await pipeline.status(notification) == "completed"
    assert await pipeline.states(notification) == {"sent:accepted": 100}
    assert set(pipeline.copies.values()) == {1}
    assert await pipeline.value("select plan_seq from ledger.runs") == 3
    assert max(pipeline.sizes) == 15
    await pipeline.agree(notification)


async def test_an_empty_audience_completes_at_once(pipeline):
    notification = await pipeline.accept(0)
    await pipeline.step(Name.ACCEPTED)
    assert await pipeline.status(notification) == "completed"
    assert await pipeline.states(notification) == {}


async def test_devices_that_end_in_planning_are_counted_with_their_reason(pipeline):
    pipeline.devices = sorted(pipeline.devices)
    notification = await pipeline.accept(3)
    pipeline.unreached = {pipeline.devices[0]: "at planning"}
    await pipeline.drain()
    assert await pipeline.states(notification) == {"sent:accepted": 2, "failed:no_credential": 1}
    await pipeline.agree(notification)


async def test_a_device_that_may_not_be_reached_any_more_is_suppressed_with_the_reason(pipeline):
    notification = await pipeline.accept(3)
    pipeline.unreached = {pipeline.devices[0]: "moved", pipeline.devices[1]: "dead_token"}
    await pipeline.drain()
    assert await pipeline.states(notification) == {
        "sent:accepted": 1,
        "suppressed:moved": 1,
        "suppressed:dead_token": 1,
    }
    await pipeline.agree(notification)


async def test_a_batch_of_which_nobody_can_be_reached_is_settled_without_sending(pipeline):
    notification = await pipeline.accept(2)
    pipeline.unreached = dict.fromkeys(pipeline.devices, "device_deleted")
    await pipeline.drain()
    assert pipeline.sizes == []
    assert await pipeline.states(notification) == {"suppressed:device_deleted": 2}
    await pipeline.agree(notification)


async def test_answers_are_recorded_as_they_come_in(pipeline):
    recorded = []

    async def send(_ready, begun, reached):
        for one in reached:
            yield Answers([taken(one.device_id)])
            left = await pipeline.rows("select sent, cardinality(device_ids) as left from ledger.batches")
            recorded.append(tuple(left[0]))

    pipeline.sending._steps = dataclasses.replace(pipeline.sending._steps, send=send)
    notification = await pipeline.accept(3)
    await pipeline.drain()
    assert recorded == [(1, 2), (2, 1), (3, None)]
    assert await pipeline.states(notification) == {"sent:accepted": 3}
    await pipeline.agree(notification)


async def test_a_throttled_delivery_waits_in_a_batch_of_its_own_and_then_is_sent(pipeline):
    first = {}

    def fate(device_id, begun):
        if device_id == pipeline.devices[0] and begun.tries == 0:
            first["delay"] = 7.0
            return Retry(device_id, THROTTLED, 7.0)
        return taken(device_id)

    pipeline.fate = fate
    notification = await pipeline.accept(5)
    await pipeline.step(Name.ACCEPTED)
    await pipeline.step(Name.PLANNED)
    due = await pipeline.value(
        "select extract(epoch from due_at - now())::float8 from ledger.batches where settled_at is null"
    )
    assert 6 < due <= 7
    assert await pipeline.step(Name.PLANNED) == 0, "its hint is not visible before it is due"
    await pipeline.drain()
    assert await pipeline.states(notification) == {"sent:accepted": 5}
    [attempt] = await pipeline.rows("select verdict, code, detail, due_at from ledger.attempts")
    assert (attempt["verdict"], attempt["code"], attempt["detail"]) == ("throttled", "throttled", "QUOTA_EXCEEDED")
    assert await pipeline.rows("select attempts from ledger.deliveries where attempts = 2")
    await pipeline.agree(notification)


async def test_a_hint_that_comes_early_does_not_send_early(pipeline):
    pipeline.fate = lambda device_id, begun: Retry(device_id, THROTTLED, 30.0) if begun.tries == 0 else taken(device_id)
    notification = await pipeline.accept(1)
    await pipeline.step(Name.ACCEPTED)
    await pipeline.step(Name.PLANNED)
    batch_no = await pipeline.value("select batch_no from ledger.batches where settled_at is null")
    hint = PlannedHint(pipeline.app_id, notification, batch_no)
    async with pipeline.database.scope(pipeline.app_id) as tx:
        early = await pipeline.book.begin(tx, hint, "me")
    assert isinstance(early, NotBegun)
    assert early.why is Why.LATER
    assert 28 < early.delay <= 30


async def test_retries_that_outlive_the_ttl_expire_at_once(pipeline):
    pipeline.fate = lambda device_id, _: Retry(device_id, THROTTLED, 100.0)
    notification = await pipeline.accept(2, ttl=50)
    await pipeline.drain()
    assert await pipeline.states(notification) == {"expired:ttl_passed": 2}
    await pipeline.agree(notification)


async def test_a_batch_begun_after_its_time_is_expired_unsent(pipeline):
    notification = await pipeline.accept(2, ttl=-1)
    await pipeline.drain()
    assert pipeline.copies == {}
    assert await pipeline.states(notification) == {"expired:ttl_passed": 2}
    await pipeline.agree(notification)


async def test_dead_tokens_go_back_to_the_audience(pipeline):
    notification = await pipeline.accept(250)
    pipeline.dead = [Learned(one, 3, None) for one in pipeline.devices]
    pipeline.fate = lambda device_id, _: End(device_id, State.REJECTED, "unregistered", detail="UNREGISTERED")
    await pipeline.drain()
    assert pipeline.forgotten == pipeline.dead
    assert await pipeline.states(notification) == {"rejected:unregistered": 250}
    assert await pipeline.value("select codes from ledger.batches") == {"unregistered": 250}
    await pipeline.agree(notification)


@pytest.mark.parametrize("point", ["after begin", "mid-send", "before settle", "after settle"])
async def test_no_device_is_lost_when_a_worker_dies(pipeline, point):
    pipeline.batch = 10
    pipeline.kill_at = die_at(point, 0.5, seed=7)
    notification = await pipeline.accept(100)
    await pipeline.drain(rounds=2000)
    assert await pipeline.status(notification) == "completed"
    states = await pipeline.states(notification)
    assert sum(states.values()) == 100
    assert states.get("sent:accepted", 0) >= 90, states
    await pipeline.agree(notification)


async def test_what_a_dead_worker_had_begun_is_ambiguous_before_it_is_sent_again(pipeline):
    pipeline.kill_at = die_at("mid-send", 1.0, seed=1)
    notification = await pipeline.accept(3)
    await pipeline.step(Name.ACCEPTED)
    await pipeline.step(Name.PLANNED)
    pipeline.kill_at = lambda _: None
    await pipeline.drain()
    attempts = await pipeline.rows("select verdict, code, epoch from ledger.attempts")
    assert [(row["verdict"], row["code"], row["epoch"]) for row in attempts] == [("ambiguous", "worker_lost", 1)] * 3
    assert set(pipeline.copies.values()) == {2}
    assert await pipeline.states(notification) == {"sent:accepted": 3}
    await pipeline.agree(notification)


async def test_what_a_dead_worker_had_begun_is_dropped_if_the_caller_wants_no_second_copy(pipeline):
    pipeline.kill_at = die_at("mid-send", 1.0, seed=1)
    notification = await pipeline.accept(3, on_ambiguity=OnAmbiguity.DROP)
    await pipeline.step(Name.ACCEPTED)
    await pipeline.step(Name.PLANNED)
    pipeline.kill_at = lambda _: None
    await pipeline.drain()
    assert set(pipeline.copies.values()) == {1}
    assert await pipeline.states(notification) == {"failed:unknown_outcome": 3}
    await pipeline.agree(notification)


async def test_a_batch_that_kills_its_workers_is_split_until_the_poison_is_alone(pipeline):
    notification = await pipeline.accept(8)
    poison = pipeline.devices[5]
    sending: list[UUID] = []

    async def reach(_tx, _app, device_ids, _at):
        sending[:] = device_ids
        return await Pipeline._reach(pipeline, _tx, _app, device_ids, _at)

    def kill(where):
        if where == "after begin" and poison in sending:
            raise Killed

    pipeline.sending._steps = dataclasses.replace(pipeline.sending._steps, reach=reach)
    pipeline.kill_at = kill
    await pipeline.drain(rounds=500)
    assert await pipeline.states(notification) == {"sent:accepted": 7, "failed:poison": 1}
    await pipeline.agree(notification)


async def test_a_zombie_changes_nothing(pipeline):
    notification = await pipeline.accept(2)
    await pipeline.step(Name.ACCEPTED)
    batch_no = await pipeline.value("select batch_no from ledger.batches")
    hint = PlannedHint(pipeline.app_id, notification, batch_no)
    async with pipeline.database.scope(pipeline.app_id) as tx:
        zombie = await pipeline.book.begin(tx, hint, "zombie")
    await pipeline.expire_leases()
    await pipeline.drain()
    for act in (
        lambda tx: pipeline.book.settle(tx, zombie, Settlement([taken(one) for one in zombie.device_ids], ())),
        lambda tx: pipeline.book.give_back(tx, zombie, delay=0.0),
        lambda tx: pipeline.book.end_all(tx, zombie, State.FAILED, "poison"),
        lambda tx: pipeline.book.split(tx, zombie),
    ):
        with pytest.raises(Fenced):
            async with pipeline.database.scope(pipeline.app_id) as tx:
                await act(tx)
    assert await pipeline.states(notification) == {"sent:accepted": 2}


async def test_a_second_end_of_a_delivery_surfaces_as_a_defect(pipeline):
    notification = await pipeline.accept(1)
    await pipeline.drain()
    with pytest.raises(UniqueViolation):
        await pipeline.rows(
            "insert into ledger.deliveries select app_id, notification_id, device_id, 'failed', 'fault', provider, "
            "1, batch_no, null, null, now() from ledger.deliveries"
        )
    assert await pipeline.states(notification) == {"sent:accepted": 1}


async def test_a_batch_of_which_nothing_was_written_is_given_back_unsuspected(pipeline):
    unsent = Attempt("unsent", "provider_unreachable", "no_connection")
    tried = []

    def fate(device_id, begun):
        tried.append(begun.epoch)
        return Retry(device_id, unsent, 2.0, spent=False) if begun.epoch == 1 else taken(device_id)

    pipeline.fate = fate
    notification = await pipeline.accept(4)
    await pipeline.drain()
    assert set(tried) == {1, 2}
    assert await pipeline.rows("select * from ledger.attempts") == []
    assert await pipeline.states(notification) == {"sent:accepted": 4}
    assert await pipeline.value("select count(*)::int from ledger.batches") == 1


async def test_a_held_batch_waits_and_a_stopped_one_ends(pipeline):
    notification = await pipeline.accept(2)
    pipeline.ready = Hold(20.0)
    await pipeline.step(Name.ACCEPTED)
    await pipeline.step(Name.PLANNED)
    held = (await pipeline.rows("select begun_at, lease_until, holder, due_at > now() as waits from ledger.batches"))[0]
    assert (held["begun_at"], held["lease_until"], held["holder"], held["waits"]) == (None, None, None, True)
    pipeline.ready = Stopped(State.FAILED, "no_credential")
    await pipeline.drain()
    assert await pipeline.states(notification) == {"failed:no_credential": 2}
    await pipeline.agree(notification)


async def test_cancel_ends_what_waits_and_nothing_begins_after_it(pipeline):
    pipeline.batch = 10
    notification = await pipeline.accept(100)
    await pipeline.step(Name.ACCEPTED)
    await pipeline.step(Name.PLANNED, limit=4)
    assert await pipeline.control.cancel(pipeline.app_id, notification) == "cancelling"
    await asyncio.gather(*pipeline.control._finishing)
    assert await pipeline.status(notification) == "cancelled"
    assert await pipeline.states(notification) == {"sent:accepted": 40, "cancelled:cancelled": 60}
    await pipeline.drain()
    assert len(pipeline.copies) == 40
    assert await pipeline.control.cancel(pipeline.app_id, notification) == "cancelled", "said twice, meant once"
    await pipeline.agree(notification)


async def test_a_cancel_reaches_what_is_being_sent_when_its_retry_is_due(pipeline):
    notification = await pipeline.accept(2)

    def fate(device_id, _):
        return Retry(device_id, THROTTLED, 5.0)

    pipeline.fate = fate
    await pipeline.step(Name.ACCEPTED)
    batch_no = await pipeline.value("select batch_no from ledger.batches")
    async with pipeline.database.scope(pipeline.app_id) as tx:
        begun = await pipeline.book.begin(tx, PlannedHint(pipeline.app_id, notification, batch_no), "me")
    await pipeline.control.cancel(pipeline.app_id, notification)
    await asyncio.gather(*pipeline.control._finishing)
    assert await pipeline.status(notification) == "cancelling", "what has begun may still end"
    async with pipeline.database.scope(pipeline.app_id) as tx:
        fates = [fate(one, begun) for one in begun.device_ids]
        assert await pipeline.book.settle(tx, begun, Settlement(fates, ())) == []
    await pipeline.keeper.tick()
    assert await pipeline.status(notification) == "cancelled"
    assert await pipeline.states(notification) == {"cancelled:cancelled": 2}
    await pipeline.agree(notification)


async def test_the_keeper_finishes_a_cancel_whose_process_died(pipeline):
    pipeline.batch = 1
    notification = await pipeline.accept(30)
    await pipeline.step(Name.ACCEPTED)
    async with pipeline.database.scope(pipeline.app_id) as tx:
        await pipeline.book.change(tx, pipeline.app_id, notification, "cancelling")
    await pipeline.keeper.tick()
    assert await pipeline.status(notification) == "cancelled"
    await pipeline.agree(notification)


async def test_cancelling_what_a_dead_worker_had_begun_tells_that_it_is_ambiguous(pipeline):
    pipeline.kill_at = die_at("mid-send", 1.0, seed=1)
    notification = await pipeline.accept(2)
    await pipeline.step(Name.ACCEPTED)
    await pipeline.step(Name.PLANNED)
    await pipeline.control.cancel(pipeline.app_id, notification)
    await asyncio.gather(*pipeline.control._finishing)
    assert await pipeline.states(notification) == {"cancelled:cancelled": 2}
    assert await pipeline.value("select count(*)::int from ledger.attempts where verdict = 'ambiguous'") == 2
    await pipeline.agree(notification)


async def test_pause_holds_and_resume_goes_on(pipeline):
    pipeline.batch = 10
    notification = await pipeline.accept(50)
    await pipeline.step(Name.ACCEPTED)
    await pipeline.step(Name.PLANNED, limit=2)
    await pipeline.control.pause(pipeline.app_id, notification)
    await pipeline.drain()
    assert len(pipeline.copies) == 20
    assert await pipeline.status(notification) == "paused"
    await pipeline.control.resume(pipeline.app_id, notification)
    await settle_down()
    assert {"planned", "accepted"} <= set(pipeline.woken)
    await pipeline.drain()
    assert await pipeline.states(notification) == {"sent:accepted": 50}
    await pipeline.agree(notification)


async def test_a_run_paused_before_planning_is_planned_when_resumed(pipeline):
    notification = await pipeline.accept(5)
    await pipeline.control.pause(pipeline.app_id, notification)
    await pipeline.drain()
    assert await pipeline.value("select targeted from ledger.runs") == 0
    assert await pipeline.control.resume(pipeline.app_id, notification) == "running"
    assert await pipeline.status(notification) == "accepted"
    await pipeline.drain()
    assert await pipeline.states(notification) == {"sent:accepted": 5}


async def test_wishes_against_the_state_are_refused_and_unknown_ids_are_not_found(pipeline):
    notification = await pipeline.accept(1)
    await pipeline.drain()
    for wish in (pipeline.control.cancel, pipeline.control.pause, pipeline.control.resume):
        with pytest.raises(Refused) as refused:
            await wish(pipeline.app_id, notification)
        assert refused.value.code == "wrong_state"
        with pytest.raises(LookupError):
            await wish(pipeline.app_id, pipeline.credential_id)


async def test_a_paused_run_past_its_time_is_let_end(pipeline):
    notification = await pipeline.accept(3, ttl=60)
    await pipeline.step(Name.ACCEPTED)
    await pipeline.control.pause(pipeline.app_id, notification)
    await pipeline.rows("update ledger.runs set expires_at = now() - interval '1 s'")
    await pipeline.drain()
    assert await pipeline.states(notification) == {"expired:ttl_passed": 3}
    assert await pipeline.status(notification) == "completed"
    await pipeline.agree(notification)


async def test_lost_hints_are_put_again_by_the_keeper(pipeline):
    notification = await pipeline.accept(3, hint=False)
    await pipeline.drain()
    assert await pipeline.states(notification) == {"sent:accepted": 3}


async def test_doubled_hints_change_nothing(pipeline):
    notification = await pipeline.accept(20)
    pipeline.batch = 5
    await pipeline.step(Name.ACCEPTED)
    batches = await pipeline.rows("select batch_no from ledger.batches")
    async with pipeline.database.scope(pipeline.app_id) as tx:
        doubles = [PlannedHint(pipeline.app_id, notification, row["batch_no"]) for row in batches] * 3
        await pipeline.lanes[Name.PLANNED].put(tx, [Parked(one, Class.BULK) for one in doubles])
    await pipeline.drain()
    assert set(pipeline.copies.values()) == {1}
    await pipeline.agree(notification)


async def test_a_page_planned_twice_is_planned_once(pipeline):
    notification = await pipeline.accept(10)
    [hint] = await pipeline.lanes[Name.ACCEPTED].claim(1, 30)
    await pipeline.planning(hint)
    await pipeline.planning(hint)
    assert await pipeline.value("select targeted::int from ledger.runs") == 10
    await pipeline.drain()
    assert await pipeline.states(notification) == {"sent:accepted": 10}


async def test_a_run_whose_planning_always_fails_is_failed_in_the_end(pipeline):
    notification = await pipeline.accept(1)

    async def broken(*_):
        raise RuntimeError("a defect")

    pipeline.planning._address = broken
    for _ in range(10):
        [hint] = await pipeline.lanes[Name.ACCEPTED].claim(1, 30)
        with pytest.raises(RuntimeError):
            await pipeline.planning(hint)
        await pipeline.lanes[Name.ACCEPTED].release([hint])
        await pipeline.hurry()
    [hint] = await pipeline.lanes[Name.ACCEPTED].claim(1, 30)
    await pipeline.planning(hint)
    assert await pipeline.status(notification) == "failed"


@pytest.mark.parametrize("seed", range(6))
async def test_with_workers_dying_anywhere_and_a_cancel_half_way_the_books_agree(
    database, keeper_database, demo_app, seed
):
    pipeline = Pipeline(database, keeper_database, demo_app.app_id, page_size=60, batch=12)
    pipeline.chunks = 3
    pipeline.kill_at = die_at("", 0.08, seed)
    notification = await pipeline.accept(150)
    for _ in range(seed):
        await pipeline.step(Name.ACCEPTED, limit=1)
        await pipeline.step(Name.PLANNED, limit=2)
    if seed % 2:
        await pipeline.control.cancel(pipeline.app_id, notification)
        await asyncio.gather(*pipeline.control._finishing)
    await pipeline.drain(rounds=2000)
    assert await pipeline.status(notification) == ("cancelled" if seed % 2 else "completed")
    await pipeline.agree(notification)


class Watch(SystemClock):
    """A clock that the test moves on."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    async def sleep(self, seconds: float) -> None:
        self.ahead += seconds


async def test_a_batch_that_another_holds_is_put_off_until_its_lease_ends(pipeline):
    notification = await pipeline.accept(1)
    await pipeline.step(Name.ACCEPTED)
    [hint] = await pipeline.lanes[Name.PLANNED].claim(1, 40)
    async with pipeline.database.scope(pipeline.app_id) as tx:
        await pipeline.book.begin(tx, hint.hint, "another")
    await pipeline.sending(hint)
    async with pipeline.database.transaction() as tx:
        wait = await tx.fetchval("select extract(epoch from visible_at - now())::float8 from lanes.messages")
    assert 28 < wait <= 30
    assert pipeline.copies == {}
    assert await pipeline.status(notification) == "running"


async def test_a_batch_that_took_too_long_to_begin_is_given_back_unsent(pipeline):
    clock = pipeline.sending._clock = Watch()
    prepare = pipeline._prepare

    async def slow(tx, begun):
        clock.ahead += 6.0
        return await prepare(tx, begun)

    pipeline.sending._steps = dataclasses.replace(pipeline.sending._steps, prepare=slow)
    notification = await pipeline.accept(2)
    await pipeline.step(Name.ACCEPTED)
    await pipeline.step(Name.PLANNED)
    assert pipeline.copies == {}
    pipeline.sending._steps = dataclasses.replace(pipeline.sending._steps, prepare=prepare)
    await pipeline.drain()
    assert await pipeline.rows("select * from ledger.attempts") == [], "nothing had left, so nothing is ambiguous"
    assert await pipeline.states(notification) == {"sent:accepted": 2}


async def test_a_worker_that_was_fenced_while_it_sent_says_nothing_more(pipeline):
    async def fate_of_a_zombie(_ready, begun, reached):
        await pipeline.expire_leases()
        hint = PlannedHint(begun.app_id, begun.notification_id, begun.batch_no)
        async with pipeline.database.scope(pipeline.app_id) as tx:
            await pipeline.book.begin(tx, hint, "the rescuer")
        yield Answers([taken(one.device_id) for one in reached])

    send = pipeline.sending._steps.send
    pipeline.sending._steps = dataclasses.replace(pipeline.sending._steps, send=fate_of_a_zombie)
    notification = await pipeline.accept(2)
    await pipeline.step(Name.ACCEPTED)
    await pipeline.step(Name.PLANNED)
    assert await pipeline.states(notification) == {}
    pipeline.sending._steps = dataclasses.replace(pipeline.sending._steps, send=send)
    await pipeline.expire_leases()
    await pipeline.drain()
    assert await pipeline.states(notification) == {"sent:accepted": 2}


class Away:
    """A database that goes away for some transactions after the first."""

    def __init__(self, database, outages: int) -> None:
        self._database, self.outages, self.opened = database, outages, 0

    def scope(self, app_id):
        self.opened += 1
        if self.opened > 1 and self.outages:
            self.outages -= 1
            raise Unavailable("the database is away")
        return self._database.scope(app_id)


async def test_answers_are_kept_while_the_database_is_away(pipeline):
    pipeline.sending._clock, pipeline.sending._database = Watch(), Away(pipeline.database, 3)
    notification = await pipeline.accept(2)
    await pipeline.step(Name.ACCEPTED)
    await pipeline.step(Name.PLANNED)
    assert await pipeline.states(notification) == {"sent:accepted": 2}
    assert set(pipeline.copies.values()) == {1}


class Mute(Away):
    """A database whose answer to the commit of each of a batch's two settles is lost, whether it happened or not."""

    def __init__(self, database, *, happens: bool) -> None:
        super().__init__(database, 0)
        self.happens = happens
        self.lost = 0

    @contextlib.asynccontextmanager
    async def _mute(self, app_id):
        with contextlib.suppress(RuntimeError):
            async with self._database.scope(app_id) as tx:
                yield tx
                if not self.happens:
                    raise RuntimeError("rolled back")
        self.lost += 1
        raise CommitUnknown("the answer to the commit was lost")

    def scope(self, app_id):
        self.opened += 1
        settles = (2, 4) if self.happens else (2, 5)  # one is the begin; each loss is followed by a look
        return self._mute(app_id) if self.opened in settles else self._database.scope(app_id)


@pytest.mark.parametrize("happens", [True, False])
async def test_a_settle_whose_commit_went_unanswered_is_done_once(pipeline, happens):
    pipeline.chunks = 2
    pipeline.sending._clock = Watch()
    mute = pipeline.sending._database = Mute(pipeline.database, happens=happens)
    notification = await pipeline.accept(4)
    await pipeline.step(Name.ACCEPTED)
    await pipeline.step(Name.PLANNED)
    await pipeline.drain()
    assert mute.lost == 2
    assert await pipeline.states(notification) == {"sent:accepted": 4}
    assert set(pipeline.copies.values()) == {1}
    assert await pipeline.rows("select * from ledger.attempts") == []
    await pipeline.agree(notification)


async def test_answers_that_cannot_be_recorded_while_the_lease_holds_are_ambiguous(pipeline):
    pipeline.sending._clock, pipeline.sending._database = Watch(), Away(pipeline.database, 1000)
    notification = await pipeline.accept(2)
    await pipeline.step(Name.ACCEPTED)
    with pytest.raises(Unavailable):
        await pipeline.step(Name.PLANNED)
    pipeline.sending._database = pipeline.database
    await pipeline.expire_leases()
    await pipeline.drain()
    assert await pipeline.states(notification) == {"sent:accepted": 2}
    assert await pipeline.value("select count(*)::int from ledger.attempts where code = 'worker_lost'") == 2
    await pipeline.agree(notification)
