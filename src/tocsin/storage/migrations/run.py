"""Running migrations: which are pending, one process at a time, none that was edited after it landed.

In: the owner's DSN. Out: the schema at the newest revision, or at the newest that old code can live with.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tocsin.storage.migrations.step import checksum

HERE = Path(__file__).parent
_LOCK = 0x746F6373696E  # "tocsin": the advisory lock that one migrating process holds

_BOOK = """
create schema if not exists storage;
create table if not exists storage.files (
  name       text primary key,
  sha256     text not null,
  applied_at timestamptz not null default now()
);
create table if not exists storage.revision (version_num varchar(32) primary key);
grant usage on schema storage to tocsin_app, tocsin_keeper;
grant select on storage.revision to tocsin_app, tocsin_keeper;
"""


class Phase(StrEnum):
    """How far to go: `before` leaves out the last contract step while old code still runs."""

    BEFORE = "before"
    AFTER = "after"


class Edited(Exception):
    """A migration that has landed does not read as it did when it was run."""


@dataclass(frozen=True, slots=True)
class Status:
    """Where a database stands: the revisions done and those still to do, oldest first."""

    done: tuple[str, ...]
    pending: tuple[str, ...]


def _scripts(folder: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def revisions(folder: Path = HERE) -> list[str]:
    """The revisions in `folder`, oldest first: `NNNN.before`, `NNNN.after`."""
    walked = ScriptDirectory.from_config(_scripts(folder)).walk_revisions()
    return [script.revision for script in walked][::-1]


def _target(names: list[str], phase: Phase) -> str:
    if phase is Phase.AFTER:
        return names[-1]
    return next(name for name in reversed(names) if name.endswith(".before"))


async def migrate(owner_dsn: str, phase: Phase = Phase.AFTER, *, folder: Path = HERE) -> Status:
    """Run what is pending up to the end of `phase`; gives the status after it.

    Waits while another process migrates. Raises Edited if a file that was run reads differently now.
    """
    async with _connection(owner_dsn) as connection:
        await connection.execute("select pg_advisory_lock($1)", _LOCK)
        try:
            await connection.execute(_BOOK)
            _refuse_edited(await connection.fetch("select name, sha256 from storage.files order by name"), folder)
            names = revisions(folder)
            done = await _done(connection, names)
            target = _target(names, phase)
            if names.index(target) >= len(done):
                await _upgrade(owner_dsn, folder, target)
        finally:
            await connection.execute("select pg_advisory_unlock($1)", _LOCK)
    return await status(owner_dsn, folder=folder)


async def status(owner_dsn: str, *, folder: Path = HERE) -> Status:
    """Which revisions are done and which are pending. Raises Edited like `migrate`."""
    names = revisions(folder)
    async with _connection(owner_dsn) as connection:
        if await connection.fetchval("select to_regclass('storage.files') is null"):
            return Status((), tuple(names))
        _refuse_edited(await connection.fetch("select name, sha256 from storage.files order by name"), folder)
        done = await _done(connection, names)
    return Status(tuple(done), tuple(names[len(done) :]))


async def _done(connection: "asyncpg.Connection[asyncpg.Record]", names: list[str]) -> list[str]:
    at = await connection.fetchval("select version_num from storage.revision")
    if at is None:
        return []
    # a database that newer code has moved on holds a revision unknown here: all of ours are done
    return names[: names.index(at) + 1] if at in names else names


def _refuse_edited(landed: Iterable[asyncpg.Record], folder: Path) -> None:
    for row in landed:
        path = folder / row["name"]
        if path.exists() and checksum(path) != row["sha256"]:
            raise Edited(
                f"{row['name']} was changed after it was run on this database: "
                "put it back as it was and write the change as a new migration"
            )


async def _upgrade(owner_dsn: str, folder: Path, target: str) -> None:
    config = _scripts(folder)

    def upgrade(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, target)

    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(owner_dsn), poolclass=NullPool
    )
    try:
        async with engine.connect() as connection:
            await connection.run_sync(upgrade)
            await connection.commit()
    finally:
        await engine.dispose()


@asynccontextmanager
async def _connection(owner_dsn: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(owner_dsn)
    try:
        yield connection
    finally:
        await connection.close()
