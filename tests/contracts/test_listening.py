"""Wake-ups: LISTEN and NOTIFY on connections of their own, made anew when lost."""

import asyncio
import os
import signal
import time
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


async def test_a_line_that_is_lost_while_waited_on_is_made_anew(
    database: Database, database_dsns: Dsns, postgres: EmbeddedPostgres
):
    stream = database.listen("bell")
    assert await following(stream) is None
    hearing = asyncio.ensure_future(following(stream))
    await asyncio.sleep(0.05)
    await end_sessions(postgres, database_dsns)
    assert await hearing is None
    await database.notify("bell", "after")
    assert await following(stream) == "after"
    await stream.aclose()


async def test_a_line_that_hangs_is_given_up_and_made_anew(database_dsns: Dsns, monkeypatch):
    line = Line(database_dsns.app, 0.2, silence=0.05)
    dialled: list[int] = []
    dial = line._dial

    async def noted() -> "asyncpg.Connection[asyncpg.Record]":
        connection = await dial()
        dialled.append(connection.get_server_pid())
        return connection

    monkeypatch.setattr(line, "_dial", noted)
    stream = line.listen("bell")
    assert await following(stream) is None
    os.kill(dialled[0], signal.SIGSTOP)  # as when a network swallows everything
    try:
        assert await following(stream) is None
        assert len(dialled) == 2
    finally:
        os.kill(dialled[0], signal.SIGCONT)
    await stream.aclose()


async def test_a_word_is_said_even_if_the_session_ended_without_our_noticing(database_dsns: Dsns):
    line = Line(database_dsns.app, 5.0)
    stream = line.listen("bell")
    assert await following(stream) is None
    await line.notify("bell", "one")
    assert line._speaker is not None
    os.kill(line._speaker.get_server_pid(), signal.SIGTERM)
    time.sleep(0.3)  # the loop stands still, so the end of the connection is not read before it is used
    await line.notify("bell", "two")
    assert [await following(stream), await following(stream)] == ["one", "two"]
    await stream.aclose()
    await line.close()


async def test_what_cannot_be_said_is_an_error_of_the_caller(database: Database):
    with pytest.raises(asyncpg.InvalidParameterValueError, match="payload string too long"):
        await database.notify("bell", "x" * 8000)
    stream = database.listen("bell")
    assert await following(stream) is None
    with pytest.raises(ValueError, match="on purpose"):
        await stream.athrow(ValueError("on purpose"))


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
