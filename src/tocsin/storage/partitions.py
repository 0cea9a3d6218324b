"""Day partitions: made ahead, dropped when past retention and holding no open run.

In: the owner's DSN. Out: for every table that is partitioned by an id, one table a day named `parent_YYYYMMDD`, whose
bounds are the UUIDv7s of that day's first and the next day's first millisecond (UTC). There is never a default
partition and never a grant on a partition: rights there would pass by the parent's policies, so each also refuses
all rows of its own.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import asyncpg

_LOCK = 0x746F6373696F  # the advisory lock of whoever makes or drops partitions

_PARENTS = """
select n.nspname as schema, c.relname as name
from pg_partitioned_table p join pg_class c on c.oid = p.partrelid join pg_namespace n on n.oid = c.relnamespace
where p.partstrat = 'r' order by 1, 2
"""
_CHILDREN = """
select n.nspname as schema, c.relname as name, i.inhparent is not null as attached,
  coalesce(i.inhdetachpending, false) as going
from pg_class c join pg_namespace n on n.oid = c.relnamespace left join pg_inherits i on i.inhrelid = c.oid
where c.relkind = 'r' and n.nspname = any($1) and c.relname ~ '_[0-9]{8}$' order by 1, 2
"""
_OPEN = """
select exists (select from ledger.runs where notification_id >= $1 and notification_id < $2
  and status in ('accepted', 'scheduled', 'running', 'paused', 'cancelling'))
"""


def bound(day: date) -> UUID:
    """The least UUIDv7 of a day (RFC 9562 section 5.7: the first 48 bits are milliseconds since the epoch)."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return UUID(int=int(start.timestamp() * 1000) << 80)


def today() -> date:
    """The day it is in UTC."""
    return datetime.now(UTC).date()


async def make_ahead(owner_dsn: str, days: int = 7, *, since: date | None = None) -> list[str]:
    """Make what is missing of the partitions from `since` (yesterday: ids lie around midnight) to `days` from today.

    Gives the names of those made, such as `ledger.runs_20261123`. Safe to call from several processes at once.
    """
    first = since or today() - timedelta(days=1)
    made = []
    async with _alone(owner_dsn) as connection:
        for schema, parent, day in await _absent(connection, first, days):
            name = f"{parent}_{day:%Y%m%d}"
            await connection.execute(_make(schema, parent, name, day))
            made.append(f"{schema}.{name}")
    return made


async def missing(owner_dsn: str, days: int) -> list[str]:
    """The names of the partitions that are not there from today to `days` from today."""
    async with _alone(owner_dsn) as connection:
        return [f"{schema}.{parent}_{day:%Y%m%d}" for schema, parent, day in await _absent(connection, today(), days)]


async def _absent(
    connection: "asyncpg.Connection[asyncpg.Record]", first: date, days: int
) -> list[tuple[str, str, date]]:
    """(schema, parent, day) of every partition that is not attached from `first` to `days` from today."""
    wanted = [first + timedelta(days=n) for n in range((today() - first).days + days + 1)]
    parents = [(row["schema"], row["name"]) for row in await connection.fetch(_PARENTS)]
    rows = await connection.fetch(_CHILDREN, [schema for schema, _ in parents])
    there = {(row["schema"], row["name"]) for row in rows if row["attached"]}
    return [
        (schema, parent, day)
        for schema, parent in parents
        for day in wanted
        if (schema, f"{parent}_{day:%Y%m%d}") not in there
    ]


def _make(schema: str, parent: str, name: str, day: date) -> str:
    # a table made aside and attached locks its parent against other changes of shape only, not against rows
    return f"""
        begin;
        drop table if exists "{schema}"."{name}";
        create table "{schema}"."{name}" (like "{schema}"."{parent}" including defaults including constraints
          including storage including compression);
        alter table "{schema}"."{name}" enable row level security;
        alter table "{schema}"."{name}" force row level security;
        alter table "{schema}"."{parent}" attach partition "{schema}"."{name}"
          for values from ('{bound(day)}') to ('{bound(day + timedelta(days=1))}');
        commit;
    """


async def drop_past(owner_dsn: str, retention_days: int) -> list[str]:
    """Drop the partitions of days that ended more than `retention_days` ago, unless a run of that day is still open.

    Gives the names of the tables dropped. A drop that was interrupted is finished. Raises ValueError below one day.
    """
    if retention_days < 1:
        raise ValueError("retention is one day at least: today's partitions are in use")
    dropped = []
    limit = today() - timedelta(days=retention_days)
    async with _alone(owner_dsn) as connection:
        parents = {(row["schema"], row["name"]) for row in await connection.fetch(_PARENTS)}
        rows = await connection.fetch(_CHILDREN, [schema for schema, _ in parents])
        for day, of_day in _past(rows, parents, limit):
            if await connection.fetchval(_OPEN, bound(day), bound(day + timedelta(days=1))):
                continue
            for row in of_day:
                await _drop(connection, row)
                dropped.append(f"{row['schema']}.{row['name']}")
    return dropped


def _past(
    rows: list[asyncpg.Record], parents: set[tuple[str, str]], limit: date
) -> Iterator[tuple[date, list[asyncpg.Record]]]:
    days: dict[date, list[asyncpg.Record]] = {}
    for row in rows:
        parent, _, stamp = row["name"].rpartition("_")
        if (row["schema"], parent) in parents:
            day = datetime.strptime(stamp, "%Y%m%d").replace(tzinfo=UTC).date()
            if day < limit:
                days.setdefault(day, []).append(row)
    yield from sorted(days.items())


async def _drop(connection: "asyncpg.Connection[asyncpg.Record]", row: asyncpg.Record) -> None:
    schema, name = row["schema"], row["name"]
    parent = name.rpartition("_")[0]
    if row["attached"]:
        # finalize ends a detach that was cut off; either way readers and writers of the parent go on
        how = "finalize" if row["going"] else "concurrently"
        await connection.execute(f'alter table "{schema}"."{parent}" detach partition "{schema}"."{name}" {how}')
    await connection.execute(f'drop table "{schema}"."{name}"')


@asynccontextmanager
async def _alone(owner_dsn: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
        owner_dsn, server_settings={"application_name": "tocsin partitions", "lock_timeout": "5s", "timezone": "UTC"}
    )
    try:
        await connection.execute("select pg_advisory_lock($1)", _LOCK)
        yield connection
    finally:
        await connection.close()
