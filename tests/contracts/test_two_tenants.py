"""Two tenants, every table, every role: nobody reads, changes or adds a row of the other.

The rows are made from the catalogue, so a table added later is in the matrix without anybody thinking of it.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tocsin.storage import Database, Tx
from tocsin.storage.embedded import Dsns
from tocsin.terms import ids

TABLES = """
select n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition and c.relrowsecurity order by 1
"""
COLUMNS = """
select a.attname as name, format_type(a.atttypid, a.atttypmod) as type, a.atthasdef as has_default
from pg_attribute a where a.attrelid = $1::text::regclass and a.attnum > 0 and not a.attisdropped and a.attnotnull
"""
NAMES = """
select a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
where n.nspname || '.' || c.relname = $1 and a.attnum > 0
"""
FIRST = ("tenants.tenants", "tenants.apps", "audience.devices")
"""Tables that others refer to, in the order they have to be filled."""

CHECKED = {
    "mode": "test",
    "class": "now",
    "on_ambiguity": "resend",
    "status": "running",
    "verdict": "ambiguous",
    "kind": "opened",
    "state": "active",
}
OF_DELIVERIES = {"state": "sent"}


@dataclass(frozen=True)
class Party:
    """One tenant with one app."""

    name: str
    tenant_id: UUID
    app_id: UUID
    device_id: UUID
    notification_id: UUID

    @classmethod
    def new(cls, name: str) -> "Party":
        return cls(name, *(ids.new() for _ in range(4)))

    def value(self, table: str, column: str, type_: str) -> Any:
        """What this party's row of `table` holds in a column."""
        if hasattr(self, column):
            return getattr(self, column)
        if table == "ledger.deliveries" and column in OF_DELIVERIES:
            return OF_DELIVERIES[column]
        if column in CHECKED:
            return CHECKED[column]
        made: dict[str, Any] = {
            "uuid": ids.new(),
            "text": f"{self.name}-{column}",
            "bytea": f"{self.name}-{column}".encode(),
            "jsonb": {"of": self.name},
            "timestamp with time zone": datetime(2026, 11, 23, tzinfo=UTC),
            "boolean": False,
        }
        return made.get(type_, 1)


def scopes(database: Database, party: Party) -> tuple[Any, Any]:
    return database.scope(party.app_id), database.tenant_scope(party.tenant_id)


async def insert(tx: Tx, table: str, party: Party) -> None:
    """Add a party's row to a table, whatever its columns are."""
    columns = [row for row in await tx.fetch(COLUMNS, table) if not row["has_default"]]
    names = ", ".join(f'"{row["name"]}"' for row in columns)
    places = ", ".join(f"${n}" for n in range(1, len(columns) + 1))
    values = [party.value(table, row["name"], row["type"]) for row in columns]
    await tx.execute(f"insert into {table} ({names}) values ({places})", *values)


@dataclass
class World:
    """Two parties, a row of each in every table."""

    tables: Sequence[str]
    ours: Party
    theirs: Party


@pytest.fixture
async def world(database: Database) -> World:
    async with database.transaction() as tx:
        found = [row["name"] for row in await tx.fetch(TABLES)]
    tables = [*FIRST, *(name for name in found if name not in FIRST)]
    parties = Party.new("ours"), Party.new("theirs")
    for party in parties:
        for table in tables:
            scope, tenant_scope = scopes(database, party)
            tenants_own = table in {"tenants.tenants", "tenants.apps", "tenants.api_keys"}
            async with tenant_scope if tenants_own else scope as tx:
                await insert(tx, table, party)
    return World(tables, *parties)


async def hers(tx: Tx, table: str, party: Party) -> tuple[int, int]:
    """How many rows of a table are seen, and how many of them are this party's."""
    key = "tenant_id" if table == "tenants.tenants" else "app_id"
    row = await tx.fetchrow(f"select count(*), count(*) filter (where {key} = $1) from {table}", getattr(party, key))
    assert row is not None
    return row[0], row[1]


async def test_every_table_is_in_the_matrix(world: World):
    assert len(world.tables) >= 16
    assert {"tenants.api_keys", "audience.devices", "ledger.batches", "web.idempotency"} <= set(world.tables)


async def test_the_app_sees_its_own_rows_and_no_others(database: Database, world: World):
    for party in (world.ours, world.theirs):
        for table in world.tables:
            found = []
            for scope in scopes(database, party):
                async with scope as tx:
                    seen, own = await hers(tx, table, party)
                    assert seen == own, f"{table} shows a stranger's row"
                    found.append(own)
            assert max(found) == 1, f"{table} hides its owner's row"


async def test_the_app_without_a_scope_sees_nothing(database: Database, world: World):
    async with database.transaction() as tx:
        assert {table: await tx.fetchval(f"select count(*) from {table}") for table in world.tables} == dict.fromkeys(
            world.tables, 0
        )


async def test_the_app_changes_and_deletes_no_row_of_a_stranger(database: Database, world: World):
    key = {table: "tenant_id" if table == "tenants.tenants" else "app_id" for table in world.tables}
    for table in world.tables:
        for statement in (f"update {table} set {key[table]} = {key[table]}", f"delete from {table}"):
            for scope in scopes(database, world.ours):
                try:
                    async with scope as tx:
                        await tx.execute(f"{statement} where {key[table]} = $1", getattr(world.theirs, key[table]))
                except asyncpg.InsufficientPrivilegeError:
                    continue
        for scope in scopes(database, world.theirs):
            async with scope as tx:
                if (await hers(tx, table, world.theirs))[1]:
                    break
        else:
            raise AssertionError(f"{table}: a stranger's row is gone")


async def test_the_app_adds_no_row_for_a_stranger(database: Database, world: World):
    for table in world.tables:
        for scope in scopes(database, world.ours):
            intruder = Party("intruder", world.theirs.tenant_id, world.theirs.app_id, world.theirs.device_id, ids.new())
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match=r"row-level security|permission denied"):
                async with scope as tx:
                    await insert(tx, table, intruder)


async def test_the_app_moves_no_row_to_a_stranger(database: Database, world: World):
    for table in world.tables:
        key = "tenant_id" if table.startswith("tenants.") and table != "tenants.credentials" else "app_id"
        scope = database.tenant_scope(world.ours.tenant_id) if key == "tenant_id" else database.scope(world.ours.app_id)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            async with scope as tx:
                await tx.execute(f"update {table} set {key} = $1", getattr(world.theirs, key))


async def test_the_owner_sees_organisations_and_open_runs_and_nothing_else(owner_database: Database, world: World):
    seen = {}
    async with owner_database.transaction() as tx:
        for table in world.tables:
            count = await tx.fetchval(f"select count(*) from {table}")
            if count:
                seen[table] = count
    assert seen == {"tenants.tenants": 2, "tenants.apps": 2, "tenants.api_keys": 2, "ledger.runs": 2}


@pytest.fixture
async def keeper(database_dsns: Dsns) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(database_dsns.keeper)
    yield connection
    await connection.close()


async def test_the_keeper_reads_ids_states_and_times_and_no_column_more(
    keeper: "asyncpg.Connection[asyncpg.Record]", world: World
):
    readable: dict[str, set[str]] = {}
    for table in world.tables:
        for row in await keeper.fetch(NAMES, table):
            try:
                await keeper.execute(f'select "{row["attname"]}" from {table}')
                readable.setdefault(table, set()).add(row["attname"])
            except asyncpg.InsufficientPrivilegeError:
                continue
    assert set(readable) == {"ledger.runs", "ledger.batches", "web.idempotency"}
    told = set().union(*readable.values())
    # a device, a target, a count or a code of anybody would be content
    assert told <= {
        "app_id", "notification_id", "batch_no", "class", "status", "planned", "plan_seq", "n",
        "due_at", "begun_at", "lease_until", "settled_at", "expires_at", "woken_at", "updated_at",
    }  # fmt: skip
    assert readable["web.idempotency"] == {"expires_at"}


async def test_the_keeper_sees_what_is_open_and_nothing_that_is_settled(
    keeper: "asyncpg.Connection[asyncpg.Record]", database: Database, world: World
):
    assert await keeper.fetchval("select count(*) from ledger.runs") == 2
    assert await keeper.fetchval("select count(*) from ledger.batches") == 2
    async with database.scope(world.ours.app_id) as tx:
        await tx.execute("update ledger.runs set status = 'completed'")
        await tx.execute("update ledger.batches set settled_at = now()")
    assert await keeper.fetchval("select array_agg(app_id) from ledger.runs") == [world.theirs.app_id]
    assert await keeper.fetchval("select array_agg(app_id) from ledger.batches") == [world.theirs.app_id]


async def test_the_keeper_writes_wake_up_times_and_nothing_else(
    keeper: "asyncpg.Connection[asyncpg.Record]", world: World
):
    assert await keeper.execute("update ledger.runs set woken_at = now()") == "UPDATE 2"
    assert await keeper.execute("update ledger.batches set woken_at = now()") == "UPDATE 2"
    for statement in (
        "update ledger.runs set status = 'cancelled'",
        "update ledger.batches set epoch = 7",
        "delete from ledger.runs",
        "insert into ledger.batches (app_id) values (null)",
        "delete from audience.devices",
        "truncate ledger.batches",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await keeper.execute(statement)


async def test_no_role_that_serves_may_change_the_schema_or_make_tables(database_dsns: Dsns):
    for dsn in (database_dsns.app, database_dsns.keeper):
        connection = await asyncpg.connect(dsn)
        for statement in (
            "create schema mine",
            "create table public.mine (x int)",
            "create temporary table mine (x int)",
            "alter table audience.devices disable row level security",
            "drop policy app on audience.devices",
            "truncate audience.devices",
            "set role tocsin_owner",
            "set session_replication_role = replica",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        await connection.close()
