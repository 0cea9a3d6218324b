"""What a process refuses to serve from: a role that sees too much, a server that forgets."""

import asyncpg
import pytest

from tocsin.storage import Database, roles
from tocsin.storage.embedded import Dsns, EmbeddedPostgres
from tocsin.storage.roles import UnsafeDatabase


async def refused(dsn: str) -> tuple[str, ...]:
    """Why a process would not serve from `dsn`; empty if it would."""
    database = await Database.connect(dsn, size=1)
    try:
        await roles.verify(database)
    except UnsafeDatabase as unsafe:
        return unsafe.faults
    finally:
        await database.close()
    return ()


def test_the_refusal_says_every_reason():
    assert str(UnsafeDatabase(("One.", "Two."))) == "One.\nTwo."


async def test_the_roles_that_serve_are_taken(database_dsns: Dsns):
    assert await refused(database_dsns.app) == ()
    assert await refused(database_dsns.keeper) == ()


async def test_a_superuser_is_refused_with_what_to_do(postgres: EmbeddedPostgres):
    (fault,) = await refused(postgres.admin_dsn())
    assert fault.startswith("The role postgres is a superuser")
    assert "use the role tocsin_app in TOCSIN_DATABASE_URL" in fault


async def test_the_owner_of_the_tables_is_refused(database_dsns: Dsns):
    (fault,) = await refused(database_dsns.owner)
    assert fault.startswith("The role tocsin_owner owns ")


@pytest.fixture
async def admin(postgres: EmbeddedPostgres, database_dsns: Dsns):
    connection = await asyncpg.connect(postgres.admin_dsn("postgres"))
    yield connection
    await connection.close()


async def test_a_role_that_passes_by_policies_is_refused_also_by_membership(
    admin: "asyncpg.Connection[asyncpg.Record]", database_dsns: Dsns
):
    name = database_dsns.app.partition("@/")[2].partition("?")[0]
    await admin.execute("create role risky login bypassrls password 'risky'; create role member login password 'risky'")
    await admin.execute(f'grant connect on database "{name}" to risky, member; grant risky to member')
    try:
        for role, word in (("risky", "has BYPASSRLS"), ("member", "is a member of a role that passes by")):
            dsn = f"postgresql://{role}:risky@{database_dsns.app.partition('@')[2]}"
            (fault,) = await refused(dsn)
            assert fault.startswith(f"The role {role} {word}")
    finally:
        await admin.execute(f'revoke all on database "{name}" from risky, member; drop role risky, member')


async def test_a_member_of_the_owner_is_refused_like_the_owner(
    admin: "asyncpg.Connection[asyncpg.Record]", database_dsns: Dsns
):
    name = database_dsns.app.partition("@/")[2].partition("?")[0]
    await admin.execute("create role friend login password 'friend' in role tocsin_owner")
    await admin.execute(f'grant connect on database "{name}" to friend')
    try:
        (fault,) = await refused(f"postgresql://friend:friend@{database_dsns.app.partition('@')[2]}")
        assert fault.startswith("The role friend owns ")
    finally:
        await admin.execute(f'revoke all on database "{name}" from friend; drop role friend')


async def test_a_server_that_forgets_is_refused_setting_by_setting(server_dir):
    off = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
    async with EmbeddedPostgres(server_dir / "d", settings=off) as server:
        faults = await refused(server.dsns().app)
    assert [fault.split(" is off, ")[0] for fault in faults] == list(off)
    assert all("set " in fault and " = on" in fault for fault in faults)


async def test_a_commit_that_does_not_wait_for_the_disk_is_refused_also_when_only_the_role_says_so(
    admin: "asyncpg.Connection[asyncpg.Record]", database_dsns: Dsns
):
    await admin.execute("alter role tocsin_app set synchronous_commit = off")
    try:
        (fault,) = await refused(database_dsns.app)
        assert fault.startswith("synchronous_commit is off")
    finally:
        await admin.execute("alter role tocsin_app reset synchronous_commit")


async def test_an_old_server_is_refused(database_dsns: Dsns, monkeypatch):
    monkeypatch.setattr(roles, "OLDEST", 99)
    (fault,) = await refused(database_dsns.app)
    assert fault.endswith("upgrade it to 99 or newer.")


async def test_the_printed_sql_prepares_a_server_for_somebody_who_is_no_superuser(server_dir):
    async with EmbeddedPostgres(server_dir / "d") as server:
        admin = await asyncpg.connect(server.admin_dsn("postgres"))
        await admin.execute("drop database tocsin")
        for role in roles.ROLES:
            await admin.execute(f"drop role {role}")
        await admin.execute("create role cloud login createrole createdb password 'cloud'")
        await admin.close()
        host = server.admin_dsn().partition("?")[2]
        cloud = await asyncpg.connect(f"postgresql://cloud:cloud@/postgres?{host}")
        words = {roles.OWNER: "own'er\\", roles.APP: 'ap"p;--', roles.KEEPER: "k"}
        for statement in roles.statements('toc"sin', words).split(";\n"):
            if statement:
                await cloud.execute(statement)
        await cloud.close()
        for role, password in words.items():
            connection = await asyncpg.connect(
                host=str(server._sockets), user=role, password=password, database='toc"sin'
            )
            assert await connection.fetchval("select current_user::text") == role
            if role == roles.OWNER:
                await connection.execute("create schema mine")
            await connection.close()
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(host=str(server._sockets), user="cloud", password="cloud", database='toc"sin')


def test_a_password_with_a_zero_byte_is_refused():
    with pytest.raises(ValueError, match="no zero byte"):
        roles.create_role(roles.APP, "a\x00b")
