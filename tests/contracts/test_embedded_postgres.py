"""The embedded server under its supervisor: it starts whatever it finds and never outlives its parent."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from tocsin.storage import leftovers
from tocsin.storage.embedded import EmbeddedPostgres, InUse, ServerFailed
from tocsin.storage.places import NoPlace

PARENT = """
import asyncio, pathlib, sys
from tocsin.storage.embedded import EmbeddedPostgres
async def main():
    server = EmbeddedPostgres(pathlib.Path(sys.argv[1]), watched=sys.argv[2] == "watched")
    await server.start()
    print(server.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


def until(condition: Callable[[], bool], within: float = 10.0) -> float:
    """Wait for something; gives the seconds it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within, "it did not happen"
        time.sleep(0.01)
    return time.monotonic() - began


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat")
        return state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z"  # ended, not yet waited for
    except (ProcessLookupError, FileNotFoundError):
        return True


def parent_with_server(directory: Path, watched: str) -> tuple["subprocess.Popen[str]", int]:
    """A process that runs a server and sleeps; gives it and the server's process id."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(directory), watched], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    return parent, int(parent.stdout.readline())


async def works(server: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(server.dsns().app)
    assert await connection.fetchval("select current_user::text") == "tocsin_app"
    await connection.close()


async def write(server: EmbeddedPostgres, word: str) -> None:
    connection = await asyncpg.connect(server.dsns().owner)
    await connection.execute("create table if not exists public.words (word text)")
    await connection.execute("insert into public.words values ($1)", word)
    await connection.close()


async def words(server: EmbeddedPostgres) -> list[str]:
    connection = await asyncpg.connect(server.dsns().owner)
    found = [row[0] for row in await connection.fetch("select word from public.words order by 1")]
    await connection.close()
    return found


async def test_a_new_directory_becomes_a_server_that_trusts_nobody(server_dir):
    async with EmbeddedPostgres(server_dir / "d") as server:
        assert server.running
        await works(server)
        dsn = server.dsns().app
        assert (server_dir / "d" / "roles.json").stat().st_mode & 0o777 == 0o600
        password = dsn.split(":")[2].partition("@")[0]
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(dsn.replace(password, "guess"))
        rules = (server_dir / "d" / "postgres" / "data" / "pg_hba.conf").read_text()
        assert rules == "local all all scram-sha-256\n"
        admin = await asyncpg.connect(server.admin_dsn())
        assert await admin.fetchval("show listen_addresses") == ""
        assert [
            await admin.fetchval(f"show {name}") for name in ("fsync", "full_page_writes", "synchronous_commit")
        ] == [
            "on",
            "on",
            "on",
        ]
        assert await admin.fetchval("show wal_level") == "replica"
        locale = "select datlocprovider = 'b' and datlocale = 'C.UTF-8' from pg_database where datname = 'tocsin'"
        assert await admin.fetchval(locale)
        owner = "select pg_get_userbyid(datdba) from pg_database where datname = 'tocsin'"
        assert await admin.fetchval(owner) == "tocsin_owner"
        await admin.close()
    assert not server.running
    assert server.pid is None


async def test_the_server_runs_as_somebody_without_rights(server_dir):
    async with EmbeddedPostgres(server_dir / "d") as server:
        assert server.pid is not None
        uid = (server_dir / "d" / "postgres" / "data").stat().st_uid
        assert uid != 0
        assert uid == (os.geteuid() or uid)
        if sys.platform == "linux":
            status = Path(f"/proc/{server.pid}/status").read_text()
            assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n" in status
            assert "CapEff:\t0000000000000000\n" in status


async def test_a_directory_that_only_its_owner_enters_serves_too(server_dir):
    private = server_dir / "private"
    private.mkdir(mode=0o700)
    elsewhere = server_dir / "elsewhere"
    server = EmbeddedPostgres(private / "clone" / ".tocsin", elsewhere=elsewhere)
    await server.start()
    await write(server, "kept")
    await server.stop()
    chosen = Path((private / "clone" / ".tocsin" / "cluster").read_text().strip())
    if os.geteuid() == 0:
        assert chosen.parent == elsewhere
        assert elsewhere.stat().st_mode & 0o777 == 0o711
    else:
        assert chosen == private / "clone" / ".tocsin" / "postgres"
    assert private.stat().st_mode & 0o777 == 0o700, "nobody opened the private directory"
    again = EmbeddedPostgres(private / "clone" / ".tocsin", elsewhere=elsewhere)
    await again.start()
    assert await words(again) == ["kept"]
    await again.stop()
    again.erase()
    assert not chosen.exists()
    assert list((private / "clone" / ".tocsin").iterdir()) == []


async def test_a_path_too_long_for_a_socket_has_its_socket_elsewhere(server_dir):
    deep = server_dir / ("long" * 20) / ("path" * 20)
    server = EmbeddedPostgres(deep)
    await server.start()
    first = server.dsns()
    await works(server)
    assert str(deep)[:40] not in first.app
    sockets = server._sockets
    assert sockets is not None
    assert sockets.stat().st_mode & 0o777 == 0o700
    await server.stop()
    assert not sockets.exists()
    await server.start()
    assert server.dsns() == first, "clients find a restarted server where it was"
    await server.stop()


async def test_two_servers_run_side_by_side(server_dir):
    async with EmbeddedPostgres(server_dir / "one") as one, EmbeddedPostgres(server_dir / "two") as two:
        await write(one, "first")
        await write(two, "second")
        assert await words(one) == ["first"]
        assert await words(two) == ["second"]


async def test_a_directory_in_use_is_refused_and_its_server_left_alone(server_dir):
    async with EmbeddedPostgres(server_dir / "d") as server:
        second = EmbeddedPostgres(server_dir / "d")
        with pytest.raises(InUse, match="another process runs the database"):
            await second.start()
        with pytest.raises(InUse, match="stop it first"):
            server.erase()
        with pytest.raises(InUse):
            second.erase()
        await works(server)
        assert await server.start() == server.dsns(), "starting what runs does nothing"


@pytest.mark.parametrize("watched", ["kernel", "watched"])
async def test_the_server_ends_cleanly_when_its_parent_is_killed(server_dir, watched):
    if watched == "kernel" and sys.platform != "linux":
        watched = "watched"
    parent, pid = parent_with_server(server_dir / "d", watched)
    parent.kill()
    parent.communicate()
    assert until(lambda: gone(pid)) < 5
    directory = server_dir / "d" / "postgres" / "data"
    until(lambda: not leftovers.workers(directory))
    assert not (directory / "postmaster.pid").exists(), "it shut down and did not crash"
    async with EmbeddedPostgres(server_dir / "d") as server:
        await works(server)


async def test_an_orphan_that_outlived_its_watcher_is_ended_at_the_next_start(server_dir):
    server = EmbeddedPostgres(server_dir / "d", watched=True)
    await server.start()
    await write(server, "kept")
    orphan = server.pid
    assert orphan is not None
    assert server._child is not None
    server._child.kill()
    server._child.wait()
    assert not gone(orphan)
    await server.start()
    assert gone(orphan)
    assert await words(server) == ["kept"]
    await server.stop()


async def test_a_killed_server_recovers_what_was_committed(server_dir):
    server = EmbeddedPostgres(server_dir / "d")
    before = await server.start()
    await write(server, "committed")
    connection = await asyncpg.connect(before.owner)
    for _ in range(2):
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: not server.running)
        assert await server.start() == before
        assert await words(server) == ["committed"]
    connection.terminate()
    await server.stop()


async def test_backends_that_outlive_a_killed_server_do_not_stop_the_next(server_dir):
    server = EmbeddedPostgres(server_dir / "d")
    await server.start()
    connection = await asyncpg.connect(server.dsns().app)
    backend = connection.get_server_pid()
    os.kill(backend, signal.SIGSTOP)  # a backend that cannot notice that its server is gone
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: not server.running)
    assert not gone(backend)
    await server.start()
    assert gone(backend)
    await works(server)
    connection.terminate()
    await server.stop()


async def test_a_start_is_tried_again_while_backends_of_a_killed_server_hold_its_memory(server_dir, monkeypatch):
    server = EmbeddedPostgres(server_dir / "d")
    await server.start()
    connection = await asyncpg.connect(server.dsns().app)
    os.kill(connection.get_server_pid(), signal.SIGSTOP)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: not server.running)
    end, calls = leftovers.end, []

    def late(directory: Path) -> None:
        calls.append(directory)
        if len(calls) > 1:
            end(directory)
        else:  # as if the backend had not been seen
            (directory / "postmaster.pid").unlink()

    monkeypatch.setattr(leftovers, "end", late)
    await server.start()
    assert len(calls) == 2
    assert "shared memory" in (server_dir / "d" / "postgres.log").read_text()
    await works(server)
    connection.terminate()
    await server.stop()


async def test_a_stale_lock_file_that_names_somebody_else_does_not_stop_a_start(server_dir):
    server = EmbeddedPostgres(server_dir / "d")
    await server.start()
    await server.stop()
    directory = server_dir / "d" / "postgres" / "data"
    stranger = subprocess.Popen(["sleep", "60"], user=directory.stat().st_uid if os.geteuid() == 0 else None)
    (directory / "postmaster.pid").write_text(f"{stranger.pid}\n{directory}\n1\n5432\n\n\n1 1\nready\n")
    (directory.parent / "socket" / ".s.PGSQL.5432.lock").write_text(f"{stranger.pid}\n")
    await server.start()
    await works(server)
    assert stranger.poll() is None, "the stranger is not ours to end"
    stranger.kill()
    stranger.wait()
    await server.stop()


async def test_an_interrupted_initdb_is_made_again(server_dir):
    server = EmbeddedPostgres(server_dir / "d")
    await server.start()
    await server.stop()
    files = server_dir / "d" / "postgres"
    (files / "data").rename(files / "data.new")
    (files / "data.new" / "PG_VERSION").unlink()
    (files / "password").write_text("left")
    async with server:
        await works(server)
    assert not (files / "data.new").exists()
    assert not (files / "password").exists()


async def test_a_server_that_will_not_start_is_reported_in_its_own_words(server_dir):
    server = EmbeddedPostgres(server_dir / "d", settings={"shared_buffers": "'much'"})
    with pytest.raises(ServerFailed, match=r'(?s)did not start.*invalid value for parameter "shared_buffers"'):
        await server.start()
    assert not server.running
    async with EmbeddedPostgres(server_dir / "d") as mended:
        await works(mended)


async def test_a_server_that_is_not_ready_in_time_is_stopped_and_reported(server_dir):
    server = EmbeddedPostgres(server_dir / "d")
    await server.start()
    await server.stop()
    slow = EmbeddedPostgres(server_dir / "d", ready_within=0.0)
    with pytest.raises(ServerFailed, match="not ready within 0 s"):
        await slow.start()
    assert not slow.running
    assert leftovers.workers(server_dir / "d" / "postgres" / "data") == []


async def test_files_of_another_major_version_are_refused_untouched(server_dir):
    server = EmbeddedPostgres(server_dir / "d")
    await server.start()
    await server.stop()
    version = server_dir / "d" / "postgres" / "data" / "PG_VERSION"
    made = version.read_text()
    version.write_text("15\n")
    with pytest.raises(ServerFailed, match=r"made by PostgreSQL 15 and this is PostgreSQL \d+: dump it"):
        await server.start()
    version.write_text(made)
    async with server:
        await works(server)


async def test_initdb_that_fails_is_reported_in_its_own_words(server_dir, monkeypatch):
    monkeypatch.setattr("tocsin.storage.cluster.ADMIN", "pg_forbidden")
    with pytest.raises(ServerFailed, match=r'(?s)initdb could not.*cannot begin with "pg_"'):
        await EmbeddedPostgres(server_dir / "d").start()
    monkeypatch.undo()
    assert list((server_dir / "d" / "postgres").glob("password")) == []


async def test_a_server_that_ignores_polite_requests_is_ended_anyway(server_dir):
    server = EmbeddedPostgres(server_dir / "d")
    await server.start()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    began = time.monotonic()
    original = server._ended

    async def impatient(patience: float) -> None:
        await original(min(patience, 0.2))

    server._ended = impatient  # type: ignore[method-assign]
    await server.stop(within=0.2)
    assert time.monotonic() - began < 5
    assert leftovers.postmaster(server_dir / "d" / "postgres" / "data") is not None
    async with EmbeddedPostgres(server_dir / "d") as again:
        await works(again)


async def test_the_log_of_the_server_does_not_grow_for_ever(server_dir, monkeypatch):
    monkeypatch.setattr("tocsin.storage.embedded._LOG_LIMIT", 10)
    (server_dir / "d").mkdir(mode=0o711)
    (server_dir / "d" / "postgres.log").write_text("x" * 11)
    async with EmbeddedPostgres(server_dir / "d"):
        assert (server_dir / "d" / "postgres.log.1").read_text() == "x" * 11
        assert (server_dir / "d" / "postgres.log").stat().st_size < 10_000


async def test_erasing_what_is_not_there_does_nothing(server_dir):
    EmbeddedPostgres(server_dir / "none").erase()
    assert not (server_dir / "none").exists()
    (server_dir / "empty").mkdir()
    EmbeddedPostgres(server_dir / "empty").erase()
    assert list((server_dir / "empty").iterdir()) == []


async def test_a_database_whose_files_are_gone_can_be_erased_and_made_anew(server_dir):
    server = EmbeddedPostgres(server_dir / "d")
    await server.start()
    await server.stop()
    shutil.rmtree(server_dir / "d" / "postgres")
    with pytest.raises(NoPlace, match="gone or cannot be reached"):
        await server.start()
    server.erase()
    async with server:
        await works(server)


async def test_a_start_that_is_cancelled_leaves_no_process(server_dir):
    server = EmbeddedPostgres(server_dir / "d")
    await server.start()
    await server.stop()
    task = asyncio.create_task(server.start())
    while not server.running and not task.done():
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not server.running
    assert leftovers.workers(server_dir / "d" / "postgres" / "data") == []
