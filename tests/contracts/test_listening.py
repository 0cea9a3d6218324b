"""Wake-ups: LISTEN and NOTIFY on connections of their own, made anew when lost."""

import asyncio
from collections.abc import AsyncGenerator

import asyncpg
import pytest
from tests.contracts.test_pool import end_sessions

from tocsin.storage import Database, Unavailable
from tocsin.storage.embedded import Dsns, EmbeddedPostgres
from tocsin.storage.listening import Line


async def following(stream: AsyncGenerator[str | None]) -> str | None:
    async with asyncio.timeout(10):
        return await anext(stream)


async def test_what_is_said_is_heard_in_order_after_a_first_reminder_to_look(database: Database):
    stream = database.listen("bell")
    assert await following(stream) is None
    for word in ("one", "two", "one"):
        await database.notify("bell", word)
    await database.notify("another", "three")
    assert [await following(stream) for _ in range(3)] == ["one", "two", "one"]
    await stream.aclose()


async def test_nothing_is_said_inside_a_transaction_of_the_pool(database: Database):
    stream = database.listen("bell")
    assert await following(stream) is None
    with pytest.raises(RuntimeError):
        async with database.transaction():
            await database.notify("bell", "heard at once")
            assert await following(stream) == "heard at once"
            raise RuntimeError
    await stream.aclose()


async def test_a_lost_line_is_made_anew_and_says_that_something_may_have_been_missed(
    database: Database, database_dsns: Dsns, postgres: EmbeddedPostgres
):
    stream = database.listen("bell")
    assert await following(stream) is None
    await database.notify("bell", "before")
    assert await following(stream) == "before"
    await end_sessions(postgres, database_dsns)
    assert await following(stream) is None
    await database.notify("bell", "after")  # the connection that speaks was ended too
    assert await following(stream) == "after"
    await stream.aclose()


async def test_a_flood_becomes_one_reminder_to_look(database: Database, monkeypatch):
    monkeypatch.setattr("tocsin.storage.listening._BACKLOG", 3)
    stream = database.listen("bell")
    assert await following(stream) is None
    async with database.transaction() as tx:
        await tx.execute("select pg_notify('bell', n::text) from generate_series(1, 10) n")
    await asyncio.sleep(0.2)
    assert [await following(stream) for _ in range(3)] == ["1", "2", None]
    await database.notify("bell", "11")
    assert await following(stream) == "11"
    await stream.aclose()


async def test_a_line_that_is_silent_for_long_is_asked_whether_it_lives(database_dsns: Dsns):
    line = Line(database_dsns.app, 5.0, silence=0.05)
    stream = line.listen("bell")
    assert await following(stream) is None
    hearing = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.3)
    await line.notify("bell", "still here")
    assert await hearing == "still here"
    await stream.aclose()
    await line.close()


async def test_a_listener_waits_for_a_server_that_is_not_there(server_dir, monkeypatch):
    line = Line(f"postgresql://nobody:x@/none?host={server_dir}", 1.0)
    tried = 0
    dial = line._dial

    async def counted() -> "asyncpg.Connection[asyncpg.Record]":
        nonlocal tried
        tried += 1
        return await dial()

    monkeypatch.setattr(line, "_dial", counted)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await anext(line.listen("bell"))
    assert 2 <= tried <= 4
    with pytest.raises(Unavailable, match="cannot be reached"):
        await line.notify("bell", "x")


async def test_a_listener_with_a_wrong_password_is_told_so(database_dsns: Dsns):
    head, _, tail = database_dsns.app.rpartition("@")
    line = Line(f"{head}x@{tail}", 1.0)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await anext(line.listen("bell"))
    with pytest.raises(asyncpg.InvalidPasswordError):
        await line.notify("bell", "x")
