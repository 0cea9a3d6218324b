"""Day partitions: made ahead, dropped when past retention and holding no open run."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
from tests.conftest import DemoApp

from tocsin.storage import Database, partitions
from tocsin.storage.embedded import Dsns
from tocsin.terms import ids

PARENTS = [
    "content.messages",
    "intake.notifications",
    "ledger.attempts",
    "ledger.batches",
    "ledger.deliveries",
    "ledger.receipts",
    "ledger.runs",
]
RUN = """
insert into ledger.runs
  (app_id, notification_id, class, on_ambiguity, status, accepted_at, expires_at, woken_at, updated_at)
values ($1, $2, 'now', 'resend', $3, now(), now(), now(), now())
"""
MESSAGE = "insert into content.messages (app_id, notification_id, message) values ($1, $2, $3)"


async def attached(dsn: str) -> set[str]:
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch(
        "select inhrelid::regclass::text from pg_inherits i join pg_class c on c.oid = inhrelid where c.relkind = 'r'"
    )
    await connection.close()
    return {row[0] for row in rows}


def names(day: date) -> set[str]:
    return {f"{parent}_{day:%Y%m%d}" for parent in PARENTS}


def of_day(day: date, hour: float = 12) -> UUID:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return ids.new((start + timedelta(hours=hour)).timestamp())


async def test_yesterday_today_and_the_days_ahead_are_there_and_nothing_is_made_twice(database_dsns: Dsns):
    today = partitions.today()
    days = [today + timedelta(days=n) for n in range(-1, 8)]
    assert await attached(database_dsns.owner) == set().union(*map(names, days))
    assert await partitions.make_ahead(database_dsns.owner) == []
    assert set(await partitions.make_ahead(database_dsns.owner, 9)) == names(today + timedelta(days=8)) | names(
        today + timedelta(days=9)
    )


async def test_processes_that_make_partitions_at_once_do_not_meet(database_dsns: Dsns):
    made = await asyncio.gather(*(partitions.make_ahead(database_dsns.owner, 8) for _ in range(4)))
    assert sorted(len(one) for one in made) == [0, 0, 0, len(PARENTS)]


async def test_an_id_lies_in_the_partition_of_its_day_to_the_last_millisecond(
    database: Database, database_dsns: Dsns, demo_app: DemoApp
):
    today = partitions.today()
    async with database.scope(demo_app.app_id) as tx:
        for hour, day in ((0.0, today), (24 - 1 / 3_600_000, today), (24.0, today + timedelta(days=1))):
            notification = of_day(today, hour)
            await tx.execute(MESSAGE, demo_app.app_id, notification, {})
            where = "select tableoid::regclass::text from content.messages where notification_id = $1"
            assert await tx.fetchval(where, notification) == f"content.messages_{day:%Y%m%d}"


async def test_a_day_without_a_partition_refuses_rows_instead_of_hiding_them(database: Database, demo_app: DemoApp):
    with pytest.raises(asyncpg.CheckViolationError, match="no partition"):
        async with database.scope(demo_app.app_id) as tx:
            await tx.execute(MESSAGE, demo_app.app_id, of_day(partitions.today() + timedelta(days=30)), {})


async def test_there_is_no_default_partition(database_dsns: Dsns):
    connection = await asyncpg.connect(database_dsns.owner)
    bounds = await connection.fetch("select pg_get_expr(relpartbound, oid) from pg_class where relispartition")
    await connection.close()
    assert bounds
    assert not [row[0] for row in bounds if row[0] == "DEFAULT"]


async def test_past_days_are_dropped_and_days_within_retention_stay(
    database: Database, database_dsns: Dsns, demo_app: DemoApp
):
    today = partitions.today()
    await partitions.make_ahead(database_dsns.owner, since=today - timedelta(days=5))
    async with database.scope(demo_app.app_id) as tx:
        await tx.execute(RUN, demo_app.app_id, of_day(today - timedelta(days=5)), "completed")
        await tx.execute(RUN, demo_app.app_id, of_day(today - timedelta(days=3)), "cancelled")
    dropped = await partitions.drop_past(database_dsns.owner, 3)
    assert set(dropped) == names(today - timedelta(days=5)) | names(today - timedelta(days=4))
    left = await attached(database_dsns.owner)
    assert not left & set(dropped)
    assert names(today - timedelta(days=3)) <= left
    async with database.scope(demo_app.app_id) as tx:
        assert await tx.fetchval("select count(*) from ledger.runs") == 1
    assert await partitions.drop_past(database_dsns.owner, 3) == []


@pytest.mark.parametrize("state", ["accepted", "scheduled", "running", "paused", "cancelling"])
async def test_a_past_day_with_an_open_run_is_kept_whole(
    database: Database, database_dsns: Dsns, demo_app: DemoApp, state: str
):
    today = partitions.today()
    past = today - timedelta(days=3)
    await partitions.make_ahead(database_dsns.owner, since=past)
    async with database.scope(demo_app.app_id) as tx:
        await tx.execute(RUN, demo_app.app_id, of_day(past), state)
    assert set(await partitions.drop_past(database_dsns.owner, 1)) == names(today - timedelta(days=2))
    assert names(past) <= await attached(database_dsns.owner)
    async with database.scope(demo_app.app_id) as tx:
        await tx.execute("update ledger.runs set status = 'completed'")
    assert set(await partitions.drop_past(database_dsns.owner, 1)) == names(past)


async def test_a_drop_that_was_interrupted_is_finished(database_dsns: Dsns):
    today = partitions.today()
    past = today - timedelta(days=3)
    await partitions.make_ahead(database_dsns.owner, since=past)
    connection = await asyncpg.connect(database_dsns.owner)
    one = f"content.messages_{past:%Y%m%d}"
    await connection.execute(f"alter table content.messages detach partition {one}")  # and then the process ended
    two = f"ledger.runs_{past:%Y%m%d}"
    holding = await asyncpg.connect(database_dsns.owner)
    held = holding.transaction()
    await held.start()
    await holding.fetch("select 1 from ledger.runs")  # a detach waits for whoever reads the parent
    with pytest.raises(asyncpg.QueryCanceledError):
        await connection.execute("set statement_timeout = '200ms'; ")
        await connection.execute(f"alter table ledger.runs detach partition {two} concurrently")
    assert await connection.fetchval("select count(*) from pg_inherits where inhdetachpending") == 1
    await held.rollback()
    await holding.close()
    await connection.close()
    dropped = await partitions.drop_past(database_dsns.owner, 1)
    assert {one, two} <= set(dropped)
    assert set(dropped) == names(past) | names(today - timedelta(days=2))


async def test_a_table_left_over_from_an_interrupted_making_is_replaced(database_dsns: Dsns):
    day = partitions.today() + timedelta(days=8)
    connection = await asyncpg.connect(database_dsns.owner)
    await connection.execute(f"create table content.messages_{day:%Y%m%d} (nonsense text)")
    await connection.close()
    assert set(await partitions.make_ahead(database_dsns.owner, 8)) == names(day)


async def test_what_is_missing_can_be_asked(database_dsns: Dsns):
    assert await partitions.missing(database_dsns.owner, 7) == []
    assert set(await partitions.missing(database_dsns.owner, 8)) == names(partitions.today() + timedelta(days=8))


async def test_a_table_that_only_looks_like_a_partition_is_kept(database_dsns: Dsns):
    connection = await asyncpg.connect(database_dsns.owner)
    await connection.execute("create table content.backup_20200101 (x integer)")
    assert await partitions.drop_past(database_dsns.owner, 1) == []
    assert await connection.fetchval("select to_regclass('content.backup_20200101') is not null")
    await connection.close()


async def test_todays_partitions_cannot_be_asked_away(database_dsns: Dsns):
    with pytest.raises(ValueError, match="one day at least"):
        await partitions.drop_past(database_dsns.owner, 0)


async def test_partitions_are_made_while_rows_are_written(database: Database, database_dsns: Dsns, demo_app: DemoApp):
    async with database.scope(demo_app.app_id) as tx:
        await tx.execute(MESSAGE, demo_app.app_id, ids.new(), {})
        assert len(await partitions.make_ahead(database_dsns.owner, 8)) == len(PARENTS)
        await tx.execute(MESSAGE, demo_app.app_id, ids.new(), {})
