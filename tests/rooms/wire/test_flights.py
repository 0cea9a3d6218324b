"""A batch: deadlines, chunks, and each call ending once."""

import asyncio

import pytest

from tocsin.wire.endings import Ambiguous, Answered, Call, Origin, Unsent
from tocsin.wire.flights import Batch

CALLS = [Call(Origin("push.example"), b"GET", b"/", (), b"")] * 3
OK = Answered(200, (), b"")


def batch_of(write_within: float, answer_within: float) -> tuple[Batch, list[Batch]]:
    swept: list[Batch] = []
    return Batch(CALLS, write_within, answer_within, lambda _: Unsent("late", "no stream"), swept.append), swept


async def test_what_is_not_written_in_time_ends_late_with_the_last_reason_to_come_back() -> None:
    batch, swept = batch_of(0.02, 5)
    batch.flights[1].why = Unsent("goaway", "said so")
    assert await batch.chunk() == [
        (0, Unsent("late", "no stream")),
        (1, Unsent("goaway", "said so")),
        (2, Unsent("late", "no stream")),
    ]
    assert batch.done
    assert swept == [batch]


async def test_what_was_written_and_not_answered_ends_timed_out_and_tells_of_a_part_of_the_answer() -> None:
    batch, _ = batch_of(0.02, 0.02)
    for flight in batch.flights[:2]:
        flight.written = True
    batch.flights[1].status = 200
    batch._timers[0].cancel()
    endings = [ending for _, ending in await batch.chunk()]
    assert endings == [
        Ambiguous("timed_out", "no answer in time"),
        Ambiguous("timed_out", "status 200 came, the rest of the answer did not in time"),
        Unsent("late", "no stream"),
    ]


async def test_a_call_that_ends_twice_is_a_defect() -> None:
    batch, _ = batch_of(5, 5)
    batch.flights[0].end(OK)
    with pytest.raises(AssertionError, match="once"):
        batch.flights[0].end(OK)
    batch.abandon()


async def test_after_a_second_the_next_ending_makes_a_chunk() -> None:
    batch, _ = batch_of(5, 5)
    loop = asyncio.get_running_loop()
    loop.call_later(1.05, batch.flights[0].end, OK)
    loop.call_later(1.06, batch.flights[1].end, OK)
    started = loop.time()
    assert await batch.chunk() == [(0, OK)]
    assert loop.time() - started >= 1.0
    loop.call_later(0.05, batch.flights[2].end, OK)
    assert await batch.chunk() == [(1, OK), (2, OK)]


async def test_endings_are_kept_while_nobody_asks() -> None:
    batch, _ = batch_of(5, 5)
    for flight in batch.flights:
        flight.end(OK)
    assert not batch.done
    assert len(await batch.chunk()) == 3
    assert batch.done


async def test_an_abandoned_batch_ends_what_is_unwritten_and_takes_nothing_back() -> None:
    batch, _ = batch_of(5, 5)
    batch.abandon()
    assert all(flight.ended for flight in batch.flights)
    assert batch.write_by <= asyncio.get_running_loop().time()


async def test_giving_up_waiting_loses_no_ending() -> None:
    batch, _ = batch_of(5, 5)
    waiting = asyncio.ensure_future(batch.chunk())
    await asyncio.sleep(0)
    waiting.cancel()
    batch.flights[0].end(OK)
    for flight in batch.flights[1:]:
        flight.end(OK)
    assert [index for index, _ in await batch.chunk()] == [0, 1, 2]
    assert waiting.cancelled() or waiting.cancelling()
