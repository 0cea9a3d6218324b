"""The runner: as many hints as it has slots, none lost to a stage that fails, an orderly end."""

import asyncio

import pytest

from tocsin.lanes.lane import Claimed, Name
from tocsin.lanes.runner import Runner
from tocsin.lanes.waking import Bells, Waker
from tocsin.storage import Unavailable
from tocsin.terms import ids
from tocsin.terms.clock import SystemClock
from tocsin.terms.handoffs import PlannedHint
from tocsin.terms.outcomes import Class


class Queue:
    """A lane of which the test sees everything."""

    def __init__(self, n: int) -> None:
        app = ids.new()
        self.ready = [Claimed(i, app, PlannedHint(app, ids.new(), i), Class.BULK, 1, 1) for i in range(n)]
        self.released: list[tuple[int, float]] = []
        self.asked: list[int] = []
        self.trouble: list[Exception] = []

    async def claim(self, limit, visibility):
        self.asked.append(limit)
        if self.trouble:
            raise self.trouble.pop()
        taken, self.ready = self.ready[:limit], self.ready[limit:]
        return taken

    async def release(self, claimed, delay=0.0):
        if self.trouble:
            raise self.trouble.pop()
        self.released += [(one.message_id, delay) for one in claimed]


async def run(queue, stage, *, slots=2, until=lambda: False):
    stop = asyncio.Event()
    runner = Runner(queue, stage, slots=slots, visibility=30, bell=asyncio.Event(), clock=SystemClock())
    task = asyncio.create_task(runner.run(stop))
    async with asyncio.timeout(5):
        while not until():
            await asyncio.sleep(0.005)
        stop.set()
        await task


async def test_it_never_has_more_in_hand_than_slots_and_goes_on_as_slots_free():
    queue, done, busy, most = Queue(9), [], 0, 0

    async def stage(claimed):
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.005)
        busy -= 1
        done.append(claimed.message_id)

    await run(queue, stage, slots=3, until=lambda: len(done) == 9)
    assert sorted(done) == list(range(9))
    assert most == 3
    assert max(queue.asked) == 3


async def test_what_it_has_begun_ends_before_it_does():
    queue, ended = Queue(1), []
    started = asyncio.Event()

    async def stage(claimed):
        started.set()
        await asyncio.sleep(0.1)
        ended.append(claimed.message_id)

    await run(queue, stage, until=started.is_set)
    assert ended == [0]


@pytest.mark.parametrize("error", [RuntimeError("a defect"), Unavailable("the database is away")])
async def test_a_hint_whose_stage_fails_comes_back_later(error):
    queue = Queue(1)

    async def stage(_):
        raise error

    await run(queue, stage, until=lambda: queue.released)
    assert queue.released == [(0, 2.0)]


async def test_a_lane_that_cannot_be_reached_is_asked_again():
    queue, done = Queue(1), []
    queue.trouble = [Unavailable("away")]

    async def stage(claimed):
        done.append(claimed.message_id)

    await run(queue, stage, until=lambda: done)
    assert done == [0]


async def test_a_hint_that_cannot_even_be_given_back_does_no_harm():
    queue, seen = Queue(2), []

    async def stage(claimed):
        seen.append(claimed.message_id)
        queue.trouble = [Unavailable("away")] if claimed.message_id == 0 else []
        raise RuntimeError("a defect")

    await run(queue, stage, slots=1, until=lambda: len(seen) == 2 and queue.released)
    assert queue.released == [(1, 2.0)]


async def test_wake_ups_of_5_ms_are_gathered_into_one_for_each_lane():
    said = []

    async def notify(channel, payload):
        said.append(payload)

    waker = Waker(notify, SystemClock())
    for _ in range(100):
        waker.wake(Name.PLANNED, Name.RETURNS)
    waker.wake()
    await asyncio.sleep(0.05)
    assert said == ["planned", "returns"]
    waker.wake(Name.PLANNED)
    await asyncio.sleep(0.05)
    assert said == ["planned", "returns", "planned"]


async def test_a_wake_up_that_cannot_be_said_does_not_stop_the_next():
    said = []

    async def notify(channel, payload):
        said.append(payload)
        if len(said) == 1:
            raise Unavailable("away")

    waker = Waker(notify, SystemClock())
    waker.wake(Name.PLANNED)
    await asyncio.sleep(0.03)
    waker.wake(Name.PLANNED)
    await asyncio.sleep(0.03)
    assert said == ["planned", "planned"]


def test_bells_ring_for_their_lane_and_all_ring_when_something_may_have_been_missed():
    bells = Bells()
    bells.ring("planned")
    bells.ring("a lane of a later version")
    assert [name for name in Name if bells.of(name).is_set()] == [Name.PLANNED]
    bells.ring_all()
    assert all(bells.of(name).is_set() for name in Name)
