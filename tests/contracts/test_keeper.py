"""The keeper: one at a time, alive to whoever asks, and not stopped by a chore that fails."""

import asyncio

import pytest
from tests.contracts.pipeline import Pipeline

from tocsin.lanes.keeper import age
from tocsin.lanes.lane import Name
from tocsin.storage import Unavailable


@pytest.fixture
def pipeline(database, keeper_database, demo_app):
    return Pipeline(database, keeper_database, demo_app.app_id)


async def test_its_age_is_told_by_the_database(pipeline, database):
    assert await age(database) is None
    await pipeline.keeper.tick()
    late = await age(database)
    assert late is not None
    assert 0 <= late < 5


async def test_only_one_keeper_looks_at_a_time(pipeline, keeper_database):
    async with keeper_database.transaction() as tx:
        await tx.fetchval("select pg_try_advisory_xact_lock(7230961)")
        assert await pipeline.keeper.tick() is False
    assert await pipeline.keeper.tick() is True


async def test_a_chore_that_fails_does_not_keep_the_next_from_running(pipeline):
    done = []

    async def broken():
        raise RuntimeError("a defect")

    async def good():
        done.append(1)

    pipeline.keeper._chores = [broken, good]
    await pipeline.keeper.do_chores()
    assert done == [1]


async def test_hints_received_again_and_again_are_dropped_as_their_rows_are_watched(pipeline, database):
    notification = await pipeline.accept(1)
    async with database.transaction() as tx:
        await tx.execute("update lanes.messages set receives = 101")
    await pipeline.keeper.do_chores()
    assert await pipeline.step(Name.ACCEPTED) == 0
    await pipeline.drain()
    assert await pipeline.states(notification) == {"sent:accepted": 1}


async def test_it_keeps_watch_until_it_is_stopped_whatever_goes_wrong(pipeline, monkeypatch):
    stop, looks, chores = asyncio.Event(), [], []
    real = pipeline.keeper.tick

    async def tick():
        looks.append(1)
        if len(looks) == 1:
            raise Unavailable("the database is away")
        if len(looks) == 2:
            raise RuntimeError("a defect")
        return await real()

    async def chore():
        chores.append(1)
        stop.set()

    monkeypatch.setattr(pipeline.keeper, "tick", tick)
    monkeypatch.setattr("tocsin.lanes.keeper._EVERY", 0.01)
    pipeline.keeper._chores = [chore]
    async with asyncio.timeout(5):
        await pipeline.keeper.run(stop)
    assert len(looks) == 3
    assert chores == [1]


async def test_a_batch_whose_worker_died_is_found_when_its_lease_is_over(pipeline):
    notification = await pipeline.accept(2)
    await pipeline.step(Name.ACCEPTED)
    [hint] = await pipeline.lanes[Name.PLANNED].claim(1, 600)
    async with pipeline.database.scope(pipeline.app_id) as tx:
        await pipeline.book.begin(tx, hint.hint, "dead")
    await pipeline.keeper.tick()
    assert await pipeline.step(Name.PLANNED) == 0, "its lease still holds"
    await pipeline.expire_leases()
    await pipeline.keeper.tick()
    assert await pipeline.step(Name.PLANNED) == 1
    assert await pipeline.states(notification) == {"sent:accepted": 2}


async def test_an_ended_run_that_nobody_probed_is_closed(pipeline):
    notification = await pipeline.accept(1)
    await pipeline.step(Name.ACCEPTED)
    await pipeline.step(Name.PLANNED)
    await pipeline.rows("update ledger.runs set status = 'running', updated_at = now() - interval '5 s'")
    await pipeline.keeper.tick()
    assert await pipeline.status(notification) == "completed"


async def test_what_waits_for_a_retry_past_its_time_is_swept(pipeline):
    notification = await pipeline.accept(3)
    await pipeline.step(Name.ACCEPTED)
    await pipeline.rows("update ledger.batches set due_at = now() + interval '1 hour'")
    await pipeline.rows("update ledger.runs set expires_at = now() - interval '1 s'")
    await pipeline.keeper.tick()
    assert await pipeline.states(notification) == {"expired:ttl_passed": 3}
    assert await pipeline.status(notification) == "completed"
    await pipeline.agree(notification)
