"""What every lane does, whatever it is made of: at least once, fair, `now` before `bulk`, leases that fence."""

import asyncio
from datetime import UTC, datetime

import pytest

from tocsin.lanes.lane import Name, Parked
from tocsin.lanes.postgres import PostgresLane, read, write
from tocsin.terms import ids
from tocsin.terms.clock import SystemClock
from tocsin.terms.handoffs import AcceptedHint, Learned, PlannedHint, ReturnsHint
from tocsin.terms.outcomes import Class


@pytest.fixture
def make_lane(database):
    return lambda name=Name.PLANNED: PostgresLane(name, database, SystemClock())


def hints(n, app=None, lane_class=Class.BULK, cost=1, delay=0.0):
    app = app or ids.new()
    return [Parked(PlannedHint(app, ids.new(), i), lane_class, cost, delay) for i in range(n)]


async def put(database, lane, parked):
    async with database.transaction() as tx:
        await lane.put(tx, parked)


async def test_what_is_put_is_claimed_once_and_after_an_ack_never_again(database, make_lane):
    lane = make_lane()
    await put(database, lane, parked := hints(3))
    claimed = await lane.claim(10, 30)
    assert [one.hint for one in claimed] == [one.hint for one in parked]
    assert [one.receives for one in claimed] == [1, 1, 1]
    assert await lane.claim(10, 30) == []
    await lane.ack(None, claimed)
    async with database.transaction() as tx:
        assert await tx.fetchval("select count(*) from lanes.messages") == 0


async def test_a_handoff_that_is_rolled_back_was_never_put(database, make_lane):
    lane = make_lane()
    with pytest.raises(RuntimeError):
        async with database.transaction() as tx:
            await lane.put(tx, hints(3))
            raise RuntimeError
    assert await lane.claim(10, 30) == []


async def test_an_ack_that_is_rolled_back_never_was(database, make_lane):
    lane = make_lane()
    await put(database, lane, hints(1))
    claimed = await lane.claim(1, 30)
    with pytest.raises(RuntimeError):
        async with database.transaction() as tx:
            await lane.ack(tx, claimed)
            raise RuntimeError
    await lane.release(claimed)
    await asyncio.sleep(0.3)
    assert len(await lane.claim(1, 30)) == 1


async def test_a_claim_that_is_not_acknowledged_comes_back_and_the_first_holder_is_fenced(database, make_lane):
    first, second = make_lane(), make_lane()
    await put(database, first, hints(1))
    [lost] = await first.claim(1, 0.1)
    await asyncio.sleep(0.4)
    [found] = await second.claim(1, 30)
    assert (found.message_id, found.receives) == (lost.message_id, 2)
    await first.ack(None, [lost])
    await first.release([lost])
    await asyncio.sleep(0.3)
    assert await second.claim(1, 30) == [], "a stale ack or release changes nothing"
    await second.ack(None, [found])


async def test_extend_holds_on_to_a_claim(database, make_lane):
    lane = make_lane()
    await put(database, lane, hints(1))
    claimed = await lane.claim(1, 0.1)
    await lane.extend(claimed, 30)
    await asyncio.sleep(0.4)
    assert await lane.claim(1, 30) == []


async def test_a_delay_is_kept_and_bounded(database, make_lane):
    lane = make_lane()
    await put(database, lane, [*hints(1, delay=0.5), *hints(1, delay=10_000.0)])
    assert await lane.claim(10, 30) == []
    await asyncio.sleep(0.9)
    assert len(await lane.claim(10, 30)) == 1
    async with database.transaction() as tx:
        left = await tx.fetchval("select max(extract(epoch from visible_at - now()))::float8 from lanes.messages")
    assert left <= 900


async def test_lanes_do_not_mix(database, make_lane):
    accepted, planned, returns = make_lane(Name.ACCEPTED), make_lane(Name.PLANNED), make_lane(Name.RETURNS)
    app = ids.new()
    hint = AcceptedHint(app, ids.new(), 4)
    await put(database, accepted, [Parked(hint, Class.NOW)])
    assert await planned.claim(5, 30) == []
    assert await returns.claim(5, 30) == []
    assert [one.hint for one in await accepted.claim(5, 30)] == [hint]


async def test_now_goes_before_bulk_but_a_tenth_is_kept_for_bulk(database, make_lane):
    lane = make_lane()
    await put(database, lane, hints(100) + hints(100, lane_class=Class.NOW))
    classes = [(await lane.claim(1, 30))[0].lane_class for _ in range(40)]
    assert classes.count(Class.BULK) == 4


async def test_one_class_fills_up_what_the_other_leaves(database, make_lane):
    lane = make_lane()
    await put(database, lane, hints(5) + hints(2, lane_class=Class.NOW))
    claimed = await lane.claim(6, 30)
    assert [one.lane_class for one in claimed] == [Class.NOW] * 2 + [Class.BULK] * 4


async def test_a_newcomer_is_served_soon_however_much_one_app_has_waiting(database, make_lane):
    lane = make_lane()
    whale, small = ids.new(), ids.new()
    await put(database, lane, hints(2000, whale, cost=500))
    for _ in range(10):
        await lane.claim(4, 30)
    await put(database, make_lane(), hints(5, small, cost=10))
    position = 0
    while sum(1 for one in await lane.claim(8, 30) if one.app_id == small) == 0:
        position += 1
        assert position < 7, "the small app waits behind the whale"


async def test_many_claimers_at_once_share_without_doubling(database, make_lane):
    await put(database, make_lane(), hints(300))
    lanes = [make_lane() for _ in range(6)]
    seen: list[int] = []

    async def claim_all(lane):
        while claimed := await lane.claim(7, 30):
            seen.extend(one.message_id for one in claimed)
            await lane.ack(None, claimed)

    await asyncio.gather(*(claim_all(lane) for lane in lanes))
    assert len(seen) == len(set(seen)) == 300


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        (Name.ACCEPTED, AcceptedHint(ids.new(), ids.new(), 3)),
        (Name.PLANNED, PlannedHint(ids.new(), ids.new(), 12345678901)),
        (
            Name.RETURNS,
            ReturnsHint(ids.new(), (Learned(ids.new(), 2, None), Learned(ids.new(), 1, datetime.now(UTC)))),
        ),
    ],
)
def test_a_hint_survives_being_written_and_read(name, hint):
    assert read(name, hint.app_id, write(hint)) == hint


async def test_the_tags_of_apps_long_quiet_are_forgotten(database, make_lane, monkeypatch):
    monkeypatch.setattr("tocsin.lanes.postgres._REMEMBERED_APPS", 3)
    lane = make_lane()
    for _ in range(5):
        await put(database, lane, hints(1))
    assert len(lane._last_tags) == 3
