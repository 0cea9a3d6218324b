"""Answers to an upload: in order, joined while nobody reads, bounded, and given up when nobody ever reads."""

import asyncio

import orjson
import pytest
from starlette.requests import ClientDisconnect

from tocsin.audience.answers import Answers
from tocsin.terms.clock import SystemClock


class Reader:
    """A caller who reads when `reads` is set."""

    def __init__(self):
        self.reads = asyncio.Event()
        self.got = b""
        self.ended = False

    async def send(self, message):
        await self.reads.wait()
        self.got += message["body"]
        self.ended = not message["more_body"]

    def lines(self):
        return [orjson.loads(line) for line in self.got.splitlines()]


async def turn():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_ranges_that_nobody_has_read_are_one():
    reader = Reader()
    async with Answers(reader.send, SystemClock()) as answers:
        answers.say({"first": True})
        await turn()
        for chunk in range(1000):
            answers.done(chunk * 10 + 1, chunk * 10 + 10, accepted=9, created=1)
        answers.done(10_001, 10_002, seen=True)
        answers.say({"line": 10_003})
        answers.done(10_003, 10_003)
        reader.reads.set()
    assert reader.ended
    assert reader.lines() == [
        {"first": True},
        {"lines": [1, 10_000], "accepted": 9000, "created": 1000},
        {"lines": [10_001, 10_002], "seen": True},
        {"line": 10_003},
        {"lines": [10_003, 10_003], "accepted": 0, "created": 0},
    ]


async def test_a_full_buffer_waits_for_the_reader():
    reader = Reader()
    async with Answers(reader.send, SystemClock(), unread=100) as answers:
        answers.say({"text": "x" * 200})
        await turn()
        answers.say({"text": "y" * 200})
        waiting = asyncio.create_task(answers.room())
        await turn()
        assert not waiting.done()
        reader.reads.set()
        await waiting
        await answers.room()
    assert len(reader.lines()) == 2


@pytest.mark.parametrize("ending", [False, True])
async def test_a_caller_who_never_reads_is_let_go(ending):
    reader = Reader()
    with pytest.raises(ClientDisconnect):
        async with Answers(reader.send, SystemClock(), unread=100, patience=0.01) as answers:
            answers.say({"text": "x" * 200})
            await turn()
            answers.say({"text": "y" * 200})
            if not ending:
                await answers.room()
    assert not reader.got


async def test_a_caller_who_is_gone_ends_the_upload():
    async def send(message):
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        async with Answers(send, SystemClock()) as answers:
            answers.say({})
            await turn()
            await answers.room()
