"""The pool: scopes that carry nothing over, and a database that comes and goes."""

import asyncio
import os
import random
import signal
import time
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from tests.conftest import DemoApp

from tocsin.storage import CommitUnknown, Database, LockTimeout, Tx, Unavailable, UniqueViolation
from tocsin.storage.embedded import Dsns, EmbeddedPostgres
from tocsin.storage.pool import _session
from tocsin.storage.roles import APP
from tocsin.terms import ids

DEVICE = """
insert into audience.devices (app_id, device_id, external_id, provider, token_set_at, bound_at)
values ($1, $2, $3, 'fcm', now(), now())
"""


async def end_sessions(postgres: EmbeddedPostgres, dsns: Dsns) -> None:
    """Terminate every session of the test's database but our own."""
    admin = await asyncpg.connect(postgres.admin_dsn("postgres"))
    name = dsns.app.partition("@/")[2].partition("?")[0]
    await admin.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1", name)
    await admin.close()


async def test_a_scope_sees_the_rows_of_its_app_and_no_others(database: Database, demo_app: DemoApp):
    other = ids.new()
    for app in (demo_app.app_id, other):
        async with database.scope(app) as tx:
            await tx.execute(DEVICE, app, ids.new(), "phone-1")
    async with database.scope(demo_app.app_id) as tx:
        assert await seen(tx) == {demo_app.app_id}
    async with database.transaction() as tx:
        assert await seen(tx) == set()


async def test_a_tenant_scope_sees_its_organisation_and_a_key_scope_its_key(database: Database, demo_app: DemoApp):
    async with database.tenant_scope(demo_app.tenant_id) as tx:
        await tx.execute(
            "insert into tenants.api_keys (key_id, tenant_id, app_id, mode, name, hash, last4) "
            "values ('abc123', $1, $2, 'test', 'demo', 'x', 'wxyz')",
            demo_app.tenant_id,
            demo_app.app_id,
        )
        assert await tx.fetchval("select app_id from tenants.apps") == demo_app.app_id
    async with database.key_scope("abc123") as tx:
        assert await tx.fetchval("select app_id from tenants.api_keys") == demo_app.app_id
    async with database.key_scope("abc124") as tx:
        assert await tx.fetch("select 1 from tenants.api_keys") == []


@pytest.mark.parametrize("key_id", ["", "a' or true --", "ü", "x" * 65, "a\nb"])
def test_what_cannot_be_a_key_id_never_reaches_the_database(key_id: str):
    with pytest.raises(ValueError, match="letters, digits"):
        Database.key_scope(object.__new__(Database), key_id)


async def test_a_block_that_raises_leaves_nothing_behind(database: Database, demo_app: DemoApp):
    with pytest.raises(RuntimeError, match="on purpose"):
        async with database.scope(demo_app.app_id) as tx:
            await tx.execute(DEVICE, demo_app.app_id, ids.new(), "phone-1")
            raise RuntimeError("on purpose")
    async with database.scope(demo_app.app_id) as tx:
        assert await tx.fetchval("select count(*) from audience.devices") == 0


async def test_an_error_that_was_swallowed_inside_a_transaction_is_not_committed_in_silence(
    database: Database, demo_app: DemoApp
):
    with pytest.raises(asyncpg.InFailedSQLTransactionError):
        async with database.scope(demo_app.app_id) as tx:
            await tx.execute(DEVICE, demo_app.app_id, ids.new(), "phone-1")
            with pytest.raises(UniqueViolation):
                await tx.execute(DEVICE, demo_app.app_id, ids.new(), "phone-1")
    async with database.scope(demo_app.app_id) as tx:
        assert await tx.fetchval("select count(*) from audience.devices") == 0


async def test_jsonb_is_python_values_and_uuid_arrays_are_lists(database: Database):
    many = [ids.new() for _ in range(3)]
    value = {"a": [1, 2.5, None, True], "ü": "\u2028"}
    async with database.transaction() as tx:
        row = await tx.fetchrow(
            "select $1::jsonb as value, $2::uuid[] as many, $3::jsonb[] as several", value, many, [1]
        )
    assert row is not None
    assert row["value"] == value
    assert row["many"] == many
    assert row["several"] == [1]


async def test_a_session_knows_its_limits(database: Database):
    async with database.transaction() as tx:
        shown = {
            name: await tx.fetchval(f"show {name}")
            for name in ("lock_timeout", "transaction_timeout", "idle_in_transaction_session_timeout", "timezone")
        }
    assert shown == {
        "lock_timeout": "1s",
        "transaction_timeout": "10s",
        "idle_in_transaction_session_timeout": "10s",
        "timezone": "UTC",
    }


async def test_a_wait_for_a_lock_ends_after_a_second(database: Database, demo_app: DemoApp):
    async with database.scope(demo_app.app_id) as first:
        await first.execute(DEVICE, demo_app.app_id, ids.new(), "phone-1")
        with pytest.raises(LockTimeout):
            async with database.scope(demo_app.app_id) as second:
                await second.execute(DEVICE, demo_app.app_id, ids.new(), "phone-1")


async def test_who_waits_too_long_for_a_connection_is_told_so(database_dsns: Dsns):
    database = await Database.connect(database_dsns.app, size=1, patience=0.2)
    async with database.transaction():
        with pytest.raises(Unavailable, match=r"no connection .* within 0\.2 s"):
            async with database.transaction():
                raise AssertionError("there is one connection only")
    async with database.transaction() as tx:
        assert await tx.fetchval("select 1") == 1
    await database.close()


async def test_a_server_that_is_not_there_is_unavailable(server_dir):
    with pytest.raises(Unavailable, match="cannot be reached"):
        await Database.connect(f"postgresql://nobody:x@/none?host={server_dir}")


async def test_a_wrong_password_is_not_called_an_absent_database(database_dsns: Dsns):
    head, _, tail = database_dsns.app.partition(f"{APP}:")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await Database.connect(f"{head}{APP}:wrong@{tail.partition('@')[2]}")


async def test_sessions_that_are_ended_while_idle_are_replaced(
    database: Database, database_dsns: Dsns, postgres: EmbeddedPostgres
):
    async with database.transaction(), database.transaction(), database.transaction():
        pass
    await end_sessions(postgres, database_dsns)
    async with database.transaction() as tx:
        assert await tx.fetchval("select 1") == 1


async def test_a_session_that_was_ended_without_our_noticing_is_replaced_within_the_same_call(database_dsns: Dsns):
    database = await Database.connect(database_dsns.app, size=1)
    async with database.transaction() as tx:
        backend = tx.get_server_pid()
    os.kill(backend, signal.SIGTERM)
    time.sleep(0.3)  # the loop stands still, so the end of the connection is not read before it is used
    async with database.transaction() as tx:
        assert tx.get_server_pid() != backend
    await database.close()


async def test_an_error_keeps_its_name_when_the_session_ended_before_the_rollback(database_dsns: Dsns):
    database = await Database.connect(database_dsns.app, size=1)
    with pytest.raises(RuntimeError, match="on purpose"):
        async with database.transaction() as tx:
            os.kill(tx.get_server_pid(), signal.SIGTERM)
            time.sleep(0.3)
            raise RuntimeError("on purpose")
    async with database.transaction() as tx:
        assert await tx.fetchval("select 1") == 1
    await database.close()


async def test_a_rollback_that_was_cut_off_does_not_give_its_session_to_the_next(database_dsns: Dsns):
    database = await Database.connect(database_dsns.app, size=1)
    backends = []

    async def visitor() -> None:
        async with database.transaction() as tx:
            backends.append(tx.get_server_pid())
            os.kill(backends[0], signal.SIGSTOP)
            raise RuntimeError("on purpose")

    task = asyncio.create_task(visitor())
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.transaction() as tx:
        assert tx.get_server_pid() != backends[0]
    os.kill(backends[0], signal.SIGCONT)
    await database.close()


async def test_a_pool_outlives_its_server_and_says_what_it_cannot_mend(server_dir: Path):
    server = EmbeddedPostgres(server_dir / "d")
    database = await Database.connect((await server.start()).app, patience=2.0)
    await server.stop()
    for _ in range(3):
        with pytest.raises(Unavailable, match="cannot be reached"):
            async with database.transaction():
                raise AssertionError("there is no server")
    await server.start()
    async with database.transaction() as tx:
        assert await tx.fetchval("select 1") == 1
    admin = await asyncpg.connect(server.admin_dsn())
    await admin.execute("alter role tocsin_app password 'another'")
    await admin.close()
    await server.stop()
    await server.start()
    with pytest.raises(asyncpg.InvalidPasswordError):
        async with database.transaction():
            raise AssertionError("the password is another")
    await database.close()
    await server.stop()


def test_an_older_server_is_not_asked_for_a_limit_it_does_not_know():
    assert "transaction_timeout" not in _session(16)
    assert {**_session(16), "transaction_timeout": "10s"} == _session(17)


async def test_a_session_that_is_ended_in_a_transaction_is_unavailable_and_then_replaced(
    database: Database, database_dsns: Dsns, postgres: EmbeddedPostgres
):
    with pytest.raises(Unavailable, match="went away"):
        async with database.transaction() as tx:
            await end_sessions(postgres, database_dsns)
            await tx.fetchval("select 1")
    async with database.transaction() as tx:
        assert await tx.fetchval("select 1") == 1


async def test_a_connection_lost_at_the_commit_says_that_the_end_is_unknown(
    database: Database, database_dsns: Dsns, postgres: EmbeddedPostgres
):
    with pytest.raises(CommitUnknown, match="may have happened"):
        async with database.transaction() as tx:
            assert await tx.fetchval("select 1") == 1
            await end_sessions(postgres, database_dsns)


async def test_a_transaction_that_idles_too_long_is_ended_and_unavailable(database: Database):
    with pytest.raises(Unavailable):
        async with database.transaction() as tx:
            await tx.execute("set local idle_in_transaction_session_timeout = '20ms'")
            await asyncio.sleep(0.2)
            await tx.fetchval("select 1")


async def test_a_cancelled_query_gives_its_connection_back_clean(database_dsns: Dsns):
    database = await Database.connect(database_dsns.app, size=1)

    async def sleeper() -> None:
        async with database.transaction() as tx:
            await tx.execute("set local lock_timeout = '9s'")
            await tx.execute("select pg_sleep(60)")

    for wait in (0.0, 0.001, 0.05):
        task = asyncio.create_task(sleeper())
        await asyncio.sleep(wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with database.transaction() as tx:
            assert await tx.fetchval("show lock_timeout") == "1s"
    await database.close()


async def test_a_cancelled_commit_leaves_a_pool_that_works(database_dsns: Dsns):
    database = await Database.connect(database_dsns.app, size=1)
    committing = asyncio.Event()

    async def writer() -> None:
        async with database.transaction():
            committing.set()

    for _ in range(5):
        committing.clear()
        task = asyncio.create_task(writer())
        await committing.wait()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with database.transaction() as tx:
            assert await tx.fetchval("select 1") == 1
    await database.close()


async def test_a_pool_that_is_in_use_is_cut_off_when_it_will_not_close(database_dsns: Dsns, monkeypatch):
    monkeypatch.setattr("tocsin.storage.pool._CLOSE_WITHIN", 0.1)
    database = await Database.connect(database_dsns.app, size=1)
    with pytest.raises(Unavailable):
        async with database.transaction() as tx:
            await database.close()
            await tx.fetchval("select 1")


async def visit(database: Database, app: UUID, dice: random.Random) -> None:
    """One checkout that leaves the connection in some state or other."""
    async with database.scope(app) as tx:
        assert await seen(tx) <= {app}
        match dice.randrange(5):
            case 0:
                await tx.execute(f"set tocsin.app = '{app}'")  # a session's setting: a leak in a pool that keeps it
            case 1:
                await tx.execute(f"set search_path = 'audience'; set tocsin.tenant = '{app}'")
            case 2:
                raise RuntimeError("on purpose")
            case 3:
                await tx.execute("select * from no.such_table")
            case _:
                await asyncio.sleep(dice.random() / 1000)


async def seen(tx: Tx) -> set[UUID]:
    return {row[0] for row in await tx.fetch("select app_id from audience.devices")}


async def test_ten_thousand_random_checkouts_carry_nothing_over(database_dsns: Dsns):
    database = await Database.connect(database_dsns.app, size=4)
    dice = random.Random(20261123)
    apps = [ids.new() for _ in range(5)]
    for app in apps:
        async with database.scope(app) as tx:
            await tx.execute(DEVICE, app, ids.new(), "phone-1")

    async def caller(seed: int) -> int:
        mine = random.Random(seed)
        checks = 0
        for _ in range(625):
            task = asyncio.create_task(visit(database, mine.choice(apps), mine))
            if mine.random() < 0.05:
                await asyncio.sleep(0)
                task.cancel()
            fate = (await asyncio.gather(task, return_exceptions=True))[0]
            assert not isinstance(fate, AssertionError), fate
            async with database.transaction() as tx:
                assert await seen(tx) == set()
                checks += 1
        return checks

    assert sum(await asyncio.gather(*(caller(dice.randrange(1 << 30)) for _ in range(8)))) == 5_000
    async with database.transaction() as tx:
        assert await tx.fetchval("show search_path") == '"$user", public'
    await database.close()
