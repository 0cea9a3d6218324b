"""What tests share: one embedded server a test process, a fresh migrated database a test, an app to act for."""

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from tocsin.storage import Database, partitions
from tocsin.storage.embedded import Dsns, EmbeddedPostgres
from tocsin.storage.migrations import migrate
from tocsin.terms import ids

TEMPLATE = "migrated"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class DemoApp:
    """A test app and the tenant it belongs to."""

    tenant_id: UUID
    app_id: UUID


def _reachable_dir() -> Path:
    """A new directory that a server lent to another user can reach; in memory where the system has room there."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2 << 30
    path = Path(tempfile.mkdtemp(prefix="tocsin-test-", dir=memory if roomy else None))
    path.chmod(0o711)
    return path


@pytest.fixture
def server_dir() -> Iterator[Path]:
    """A directory for a server of a test's own."""
    path = _reachable_dir()
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A server with the product's own settings and a migrated database to copy; one for each test process."""
    path = _reachable_dir()
    server = EmbeddedPostgres(path / "server")

    async def prepare() -> None:
        await server.start()
        template = await server.create_database(TEMPLATE)
        await migrate(template.owner)
        await partitions.make_ahead(template.owner)

    asyncio.run(prepare())
    try:
        yield server
    finally:
        asyncio.run(server.stop())
        shutil.rmtree(path)


@pytest.fixture
async def database_dsns(postgres: EmbeddedPostgres) -> AsyncIterator[Dsns]:
    """A fresh database with every migration run: `.app`, `.owner`, `.keeper` are DSNs."""
    name = f"test_{next(_numbers)}"
    yield await postgres.create_database(name, template=TEMPLATE)
    await postgres.drop_database(name)


@pytest.fixture
async def database(database_dsns: Dsns) -> AsyncIterator[Database]:
    """The fresh database as the role that serves requests."""
    opened = await Database.connect(database_dsns.app)
    yield opened
    await opened.close()


@pytest.fixture
async def owner_database(database_dsns: Dsns) -> AsyncIterator[Database]:
    """The fresh database as the role that owns its tables."""
    opened = await Database.connect(database_dsns.owner, size=2)
    yield opened
    await opened.close()


@pytest.fixture
async def keeper_database(database_dsns: Dsns) -> AsyncIterator[Database]:
    """The fresh database as the role that finds overdue work of all apps."""
    opened = await Database.connect(database_dsns.keeper, size=2)
    yield opened
    await opened.close()


@pytest.fixture
async def demo_app(database: Database) -> DemoApp:
    """A tenant and its test app, in the fresh database."""
    demo = DemoApp(ids.new(), ids.new())
    async with database.tenant_scope(demo.tenant_id) as tx:
        await tx.execute("insert into tenants.tenants (tenant_id, name) values ($1, 'demo')", demo.tenant_id)
        await tx.execute(
            "insert into tenants.apps (tenant_id, app_id, name, mode) values ($1, $2, 'demo', 'test')",
            demo.tenant_id,
            demo.app_id,
        )
    return demo
