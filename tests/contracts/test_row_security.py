"""The known leaks of row-level security: each is planted and seen to leak, then looked for in the schema as it is.

A test that only asserts "no leak" proves nothing if the trap was never there; so every trap is shown to work first.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest
from tests.conftest import DemoApp
from tests.contracts.test_pool import DEVICE

from tocsin.storage import Database
from tocsin.storage.embedded import Dsns, EmbeddedPostgres
from tocsin.terms import ids

Connection = asyncpg.Connection

SAFE = "app_id = (select nullif(current_setting('tocsin.app', true), '')::uuid)"
OURS = "n.nspname !~ '^(pg_|information_schema$|planted$)'"
A, B = ids.new(), ids.new()


@dataclass
class Roles:
    """A raw connection as each role; `admin` is the superuser."""

    admin: Connection
    owner: Connection
    app: Connection


@pytest.fixture
async def roles(postgres: EmbeddedPostgres, database_dsns: Dsns) -> AsyncIterator[Roles]:
    """The fresh database as every role, with an open schema to plant leaks in."""
    name = database_dsns.app.partition("@/")[2].partition("?")[0]
    dsns = (postgres.admin_dsn(name), database_dsns.owner, database_dsns.app)
    opened = Roles(*[await asyncpg.connect(dsn) for dsn in dsns])
    await opened.owner.execute("create schema planted; grant usage on schema planted to tocsin_app")
    yield opened
    for connection in (opened.admin, opened.owner, opened.app):
        await connection.close()


async def plant(by: Connection, table: str = "planted.rows", *, policy: str = SAFE, force: bool = True) -> None:
    """A table with one row for each of two apps, under a policy, made by `by`."""
    await by.execute(f"create table {table} (app_id uuid not null, word text)")
    await by.execute(f"insert into {table} values ('{A}', 'a'), ('{B}', 'b')")
    await protect(by, table, policy=policy, force=force)


async def protect(by: Connection, table: str, *, policy: str = SAFE, force: bool = True) -> None:
    await by.execute(f"alter table {table} enable row level security")
    if force:
        await by.execute(f"alter table {table} force row level security")
    await by.execute(f"create policy app on {table} to tocsin_app using ({policy})")
    await by.execute(f"grant select, insert on {table} to tocsin_app")


async def as_app(connection: Connection, app: object, query: str) -> object:
    """The first value of `query` in the scope of an app."""
    async with connection.transaction():
        await connection.execute(f"select set_config('tocsin.app', '{app}', true)")
        return await connection.fetchval(query)


@pytest.fixture
async def our_rows(database: Database, demo_app: DemoApp) -> DemoApp:
    """One device of the demo app and one of a stranger, in the real table."""
    for app in (demo_app.app_id, B):
        async with database.scope(app) as tx:
            await tx.execute(DEVICE, app, ids.new(), "phone-1")
    return demo_app


async def test_leak_1_an_owner_passes_by_policies_that_are_not_forced(roles: Roles, our_rows: DemoApp):
    await plant(roles.owner, force=False)
    assert await roles.owner.fetchval("select count(*) from planted.rows") == 2
    assert await roles.owner.fetchval("select count(*) from audience.devices") == 0


async def test_leak_1_every_table_of_ours_is_forced_but_the_machine_tables(roles: Roles):
    open_tables = await roles.owner.fetch(
        "select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        f"where c.relkind in ('r', 'p') and {OURS} and not (c.relrowsecurity and c.relforcerowsecurity) order by 1"
    )
    assert [row[0] for row in open_tables] == ["lanes.beats", "lanes.messages", "storage.files", "storage.revision"]


async def test_leak_2_a_superuser_passes_by_everything_and_our_roles_are_none(roles: Roles, our_rows: DemoApp):
    await plant(roles.owner)
    assert await roles.admin.fetchval("select count(*) from planted.rows") == 2
    assert await roles.app.fetchval("select count(*) from planted.rows") == 0
    risky = await roles.admin.fetch(
        "select rolname from pg_roles where rolname ~ '^tocsin' and "
        "(rolsuper or rolbypassrls or rolcreaterole or rolreplication)"
    )
    assert risky == []
    known = await roles.admin.fetch("select rolname from pg_roles where rolname ~ '^tocsin' order by 1")
    assert [row[0] for row in known] == ["tocsin_app", "tocsin_keeper", "tocsin_owner"]
    members = await roles.admin.fetch(
        "select 1 from pg_auth_members m join pg_roles r on r.oid = m.member where r.rolname ~ '^tocsin'"
    )
    assert members == []


async def test_leak_3_a_view_shows_what_its_owner_may_see_and_we_have_none(roles: Roles):
    await plant(roles.owner)
    await roles.admin.execute("create view planted.shown as select * from planted.rows")
    await roles.admin.execute("grant select on planted.shown to tocsin_app")
    assert await as_app(roles.app, A, "select count(*) from planted.shown") == 2
    await roles.admin.execute("alter view planted.shown set (security_invoker = true)")
    assert await as_app(roles.app, A, "select count(*) from planted.shown") == 1
    views = await roles.admin.fetch(
        "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        f"where c.relkind in ('v', 'm') and {OURS} "
        "and not coalesce(c.reloptions @> array['security_invoker=true'], false)"
    )
    assert views == []


async def test_leak_4_a_security_definer_function_counts_everybody_and_we_have_none(roles: Roles):
    await plant(roles.owner)
    await roles.admin.execute(
        "create function planted.counted() returns bigint language sql security definer "
        "as 'select count(*) from planted.rows'"
    )
    await roles.admin.execute("grant execute on function planted.counted() to tocsin_app")
    assert await as_app(roles.app, A, "select planted.counted()") == 2
    definers = await roles.admin.fetch(
        f"select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace where p.prosecdef and {OURS}"
    )
    assert definers == []


async def test_leak_5_after_a_commit_the_setting_is_empty_text_and_not_null(roles: Roles, our_rows: DemoApp):
    careless = "current_setting('tocsin.app', true) is null or app_id = current_setting('tocsin.app', true)::uuid"
    await plant(roles.owner, policy=careless)
    assert await roles.app.fetchval("select count(*) from planted.rows") == 2  # "no scope" read as "all scopes"
    await as_app(roles.app, A, "select 1")
    assert await roles.app.fetchval("select current_setting('tocsin.app', true)") == ""
    with pytest.raises(asyncpg.InvalidTextRepresentationError):
        await roles.app.fetchval("select count(*) from planted.rows")
    assert await roles.app.fetchval("select count(*) from audience.devices") == 0


async def test_leak_5_every_policy_of_ours_reads_an_empty_setting_as_nobody(roles: Roles):
    policies = await roles.admin.fetch(
        "select n.nspname || '.' || c.relname as name, pg_get_expr(p.polqual, p.polrelid) as using, "
        "array(select r.rolname from pg_roles r where r.oid = any (p.polroles)) as roles "
        "from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace "
        f"where {OURS}"
    )
    for_the_app = [row for row in policies if row["roles"] == ["tocsin_app"]]
    assert len(for_the_app) >= 16
    assert all("NULLIF(current_setting('tocsin." in row["using"] for row in for_the_app)
    others = {tuple(row["roles"]) for row in policies} - {("tocsin_app",)}
    assert others == {("tocsin_keeper",), ("tocsin_owner",)}  # never PUBLIC


async def test_leak_6_a_setting_of_a_session_stays_for_the_next_user_of_the_connection(
    roles: Roles, database_dsns: Dsns, our_rows: DemoApp
):
    await plant(roles.owner)
    await roles.app.execute(f"set tocsin.app = '{A}'")
    assert await roles.app.fetchval("select count(*) from planted.rows") == 1  # whoever comes next is still A
    database = await Database.connect(database_dsns.app, size=1)
    async with database.scope(our_rows.app_id) as tx:
        await tx.execute(f"set tocsin.app = '{our_rows.app_id}'")
        first = await tx.fetchval("select pg_backend_pid()")
    async with database.transaction() as tx:
        assert await tx.fetchval("select pg_backend_pid()") == first
        assert await tx.fetchval("select count(*) from audience.devices") == 0
    await database.close()


async def test_leak_7_a_foreign_key_takes_another_apps_row(roles: Roles, database: Database, our_rows: DemoApp):
    await roles.owner.execute("create table planted.devices (app_id uuid not null, device_id uuid primary key)")
    await roles.owner.execute(
        "create table planted.details (app_id uuid not null, device_id uuid references planted.devices)"
    )
    device = ids.new()
    await roles.owner.execute(f"insert into planted.devices values ('{B}', '{device}')")
    for table in ("planted.devices", "planted.details"):
        await protect(roles.owner, table, force=False)
    await as_app(roles.app, A, f"insert into planted.details values ('{A}', '{device}')")
    async with database.scope(B) as tx:
        theirs = await tx.fetchval("select device_id from audience.devices")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        async with database.scope(our_rows.app_id) as tx:
            await tx.execute(
                "insert into audience.details (app_id, device_id) values ($1, $2)", our_rows.app_id, theirs
            )


async def test_leak_7_every_foreign_key_of_ours_holds_the_app_or_the_tenant_and_none_touches_partitions(roles: Roles):
    keys = await roles.admin.fetch(
        "select k.conname, k.conrelid::regclass::text as source, c.relkind, t.relkind as target_kind, "
        "array(select a.attname::text from pg_attribute a where a.attrelid = k.conrelid and a.attnum = any (k.conkey)) "
        "as columns from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_class t on t.oid = k.confrelid "
        f"join pg_namespace n on n.oid = c.relnamespace where k.contype = 'f' and {OURS} "
    )
    assert len(keys) >= 4
    for key in keys:
        assert {"app_id", "tenant_id"} & set(key["columns"]), key
        assert (key["relkind"], key["target_kind"]) == (b"r", b"r"), key
    partitions = await roles.admin.fetch(
        "select 1 from pg_constraint k join pg_inherits i on i.inhrelid in (k.conrelid, k.confrelid) "
        "where k.contype = 'f'"
    )
    assert partitions == []


async def test_leak_8_a_unique_token_tells_of_another_apps_row(roles: Roles, database: Database, our_rows: DemoApp):
    await roles.owner.execute("create table planted.tokens (app_id uuid not null, token text unique)")
    await protect(roles.owner, "planted.tokens")
    await as_app(roles.app, B, f"insert into planted.tokens values ('{B}', 'secret-token')")
    with pytest.raises(asyncpg.UniqueViolationError, match="tokens_token_key"):
        await as_app(roles.app, A, f"insert into planted.tokens values ('{A}', 'secret-token')")
    for app in (our_rows.app_id, B):
        async with database.scope(app) as tx:
            done = await tx.execute("update audience.devices set token = 'secret-token', token_hash = 'x'")
        assert done == "UPDATE 1"


async def test_leak_8_every_unique_index_of_ours_begins_with_the_app_or_the_tenant(roles: Roles):
    alone = await roles.admin.fetch(
        "select i.indexrelid::regclass::text from pg_index i join pg_class c on c.oid = i.indrelid "
        f"join pg_namespace n on n.oid = c.relnamespace where i.indisunique and c.relrowsecurity and {OURS} and "
        "(select a.attname from pg_attribute a where a.attrelid = i.indrelid and a.attnum = i.indkey[0]) "
        "not in ('app_id', 'tenant_id')"
    )
    # a key's id is minted at random and never chosen by a caller
    assert [row[0] for row in alone] == ["tenants.api_keys_pkey"]


async def test_a_grant_on_a_partition_passes_by_the_parents_policies(roles: Roles, our_rows: DemoApp):
    await roles.owner.execute(
        "create table planted.runs (app_id uuid not null, day date not null) partition by range (day);"
        "create table planted.runs_1 partition of planted.runs for values from ('2026-11-23') to ('2026-11-24')"
    )
    await roles.owner.execute(f"insert into planted.runs values ('{A}', '2026-11-23'), ('{B}', '2026-11-23')")
    await protect(roles.owner, "planted.runs")
    await roles.owner.execute("grant select on all tables in schema planted to tocsin_app")
    assert await as_app(roles.app, A, "select count(*) from planted.runs") == 1
    assert await as_app(roles.app, A, "select count(*) from planted.runs_1") == 2


async def test_no_partition_of_ours_is_granted_and_even_a_grant_would_show_nothing(
    roles: Roles, database: Database, our_rows: DemoApp
):
    notification = ids.new()
    async with database.scope(our_rows.app_id) as tx:
        await tx.execute(
            "insert into content.messages (app_id, notification_id, message) values ($1, $2, '{}'::text::jsonb)",
            our_rows.app_id,
            notification,
        )
    partitions = await roles.admin.fetch(
        "select c.oid::regclass::text as name, c.relacl from pg_class c where c.relispartition and c.relkind = 'r'"
    )
    assert len(partitions) >= 7 * 9
    assert [row["name"] for row in partitions if row["relacl"] is not None] == []
    holding = await roles.admin.fetchval("select tableoid::regclass::text from content.messages")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await as_app(roles.app, our_rows.app_id, f"select count(*) from {holding}")
    await roles.owner.execute("grant select, insert on all tables in schema content to tocsin_app")
    assert await as_app(roles.app, our_rows.app_id, f"select count(*) from {holding}") == 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await as_app(roles.app, our_rows.app_id, f"insert into {holding} values ('{B}', '{notification}', '{{}}')")
    assert await as_app(roles.app, our_rows.app_id, "select count(*) from content.messages") == 1
