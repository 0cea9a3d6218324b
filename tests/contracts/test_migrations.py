"""Migrations: in order, once, before and after; an edited one is refused."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from tocsin.storage import migrations, partitions
from tocsin.storage.embedded import Dsns, EmbeddedPostgres
from tocsin.storage.migrations import Edited, Phase, Status, migrate, status

FOLDER = Path(migrations.__file__).parent
REVISION = """
from tocsin.storage.migrations.step import run_file
revision = "{name}"
down_revision = {after!r}
def upgrade():
    run_file(__file__, "{file}")
"""


@pytest.fixture
async def empty(postgres: EmbeddedPostgres) -> AsyncIterator[Dsns]:
    """A database in which nothing was ever run."""
    yield await postgres.create_database("empty")
    await postgres.drop_database("empty")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two migrations: the second widens in its before and narrows in its after."""
    (tmp_path / "versions").mkdir()
    shutil.copy(FOLDER / "env.py", tmp_path)
    previous = None
    for name, file, sql in (
        ("0001.before", "0001_words.before.sql", "create schema app; create table app.words (word text not null);"),
        (
            "0002.before",
            "0002_letters.before.sql",
            "alter table app.words add letters integer;\n"
            "create function app.count() returns trigger language plpgsql as $$ begin"
            " new.letters := coalesce(new.letters, length(new.word)); return new; end $$;\n"
            "create trigger count before insert on app.words for each row execute function app.count();",
        ),
        ("0002.after", "0002_letters.after.sql", "alter table app.words alter letters set not null;"),
    ):
        (tmp_path / file).write_text(sql)
        revision = tmp_path / "versions" / f"v{name.replace('.', '_')}.py"
        revision.write_text(REVISION.format(name=name, after=previous, file=file))
        previous = name
    return tmp_path


async def run(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def shape(dsn: str) -> list[tuple[str, ...]]:
    """Every column, policy, index and right of our schemas, as text."""
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch(
        "select 'column', format('%s.%s.%s %s %s', table_schema, table_name, column_name, data_type, is_nullable) "
        "from information_schema.columns where table_schema !~ '^(pg_|information_schema)' "
        "union all select 'index', indexdef from pg_indexes where schemaname !~ '^(pg_|information_schema)' "
        "union all select 'policy', format('%s.%s %s %s', schemaname, tablename, policyname, qual) from pg_policies "
        "order by 1, 2"
    )
    await connection.close()
    return [tuple(row) for row in rows]


async def test_an_empty_database_comes_to_the_newest_schema_and_again_changes_nothing(empty: Dsns):
    assert await status(empty.owner) == Status((), ("0001.before",))
    assert await migrate(empty.owner) == Status(("0001.before",), ())
    first = await shape(empty.owner)
    assert await migrate(empty.owner) == Status(("0001.before",), ())
    assert await shape(empty.owner) == first
    assert len(first) > 100


async def test_every_revision_has_its_file_and_every_file_its_revision():
    files = {path.name.split("_")[0] + "." + path.name.split(".")[1] for path in FOLDER.glob("*.sql")}
    assert set(migrations.run.revisions()) == files


async def test_old_code_works_on_the_before_schema_and_new_code_on_both(empty: Dsns, folder: Path):
    assert (await migrate(empty.owner, Phase.BEFORE, folder=folder)).pending == ("0002.after",)
    await run(empty.owner, "insert into app.words (word) values ('old')")  # as code that knows nothing of letters does
    await run(empty.owner, "insert into app.words (word, letters) values ('new', 3)")
    assert await migrate(empty.owner, folder=folder) == Status(("0001.before", "0002.before", "0002.after"), ())
    await run(empty.owner, "insert into app.words (word, letters) values ('newer', 5)")
    assert await run(empty.owner, "select sum(letters) from app.words") == 11
    with pytest.raises(asyncpg.NotNullViolationError):
        await run(empty.owner, "update app.words set letters = null")


async def test_the_way_by_before_and_the_straight_way_end_in_one_schema(
    empty: Dsns, folder: Path, postgres: EmbeddedPostgres
):
    await migrate(empty.owner, Phase.BEFORE, folder=folder)
    await migrate(empty.owner, Phase.AFTER, folder=folder)
    straight = await postgres.create_database("straight")
    await migrate(straight.owner, folder=folder)
    assert await shape(straight.owner) == await shape(empty.owner)
    await postgres.drop_database("straight")


async def test_a_landed_migration_that_was_edited_is_refused(empty: Dsns, folder: Path):
    await migrate(empty.owner, Phase.BEFORE, folder=folder)
    edited = folder / "0001_words.before.sql"
    edited.write_text(edited.read_text() + "\n-- harmless, one would think\n")
    for attempt in (migrate(empty.owner, folder=folder), status(empty.owner, folder=folder)):
        with pytest.raises(Edited, match=r"0001_words\.before\.sql was changed after it was run .* new migration"):
            await attempt
    assert await run(empty.owner, "select version_num from storage.revision") == "0002.before"


async def test_a_migration_that_has_not_landed_may_be_edited(empty: Dsns, folder: Path):
    await migrate(empty.owner, Phase.BEFORE, folder=folder)
    (folder / "0002_letters.after.sql").write_text("alter table app.words drop column letters;")
    assert (await migrate(empty.owner, folder=folder)).pending == ()


async def test_a_migration_that_fails_leaves_nothing_of_itself(empty: Dsns, folder: Path):
    (folder / "0002_letters.after.sql").write_text("create table app.half (x integer); select 1 / 0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(empty.owner, folder=folder)
    assert await run(empty.owner, "select to_regclass('app.half') is null")
    assert (await status(empty.owner, folder=folder)).pending == ("0002.after",)
    (folder / "0002_letters.after.sql").write_text("select 1;")
    assert (await migrate(empty.owner, folder=folder)).pending == ()


async def test_processes_that_migrate_at_once_take_turns(empty: Dsns, folder: Path):
    done = await asyncio.gather(*(migrate(empty.owner, folder=folder) for _ in range(4)))
    assert {one.pending for one in done} == {()}


async def test_older_code_leaves_a_database_alone_that_newer_code_has_moved_on(empty: Dsns, folder: Path):
    await migrate(empty.owner, folder=folder)
    for name in ("versions/v0002_after.py", "0002_letters.after.sql"):
        (folder / name).unlink()
    known = Status(("0001.before", "0002.before"), ())
    assert await status(empty.owner, folder=folder) == known
    assert await migrate(empty.owner, folder=folder) == known
    assert await run(empty.owner, "select version_num from storage.revision") == "0002.after"


async def test_the_roles_that_serve_may_read_where_the_schema_stands_and_not_change_it(database_dsns: Dsns):
    for dsn in (database_dsns.app, database_dsns.keeper):
        assert await run(dsn, "select version_num from storage.revision") == "0001.before"
        for statement in ("delete from storage.revision", "select * from storage.files"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await run(dsn, statement)


async def test_the_schema_works_on_the_newest_revision_with_partitions_of_today(empty: Dsns):
    await migrate(empty.owner)
    made = await partitions.make_ahead(empty.owner, 0)
    assert f"ledger.runs_{partitions.today():%Y%m%d}" in made
