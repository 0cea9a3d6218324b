"""The body of an upload becomes chunks: full ones at once, the few lines of a slow sender soon."""

import asyncio
import time

import pytest
from starlette.requests import ClientDisconnect

from tocsin.audience.uploads import CHUNK, Upload
from tocsin.terms.clock import SystemClock


def piece(body, more=True):
    return {"type": "http.request", "body": body, "more_body": more}


class Sender:
    """What is put in comes out of `receive`."""

    def __init__(self, *messages):
        self.queue: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        for message in messages:
            self.queue.put_nowait(message)

    def upload(self):
        return Upload(self.queue.get, SystemClock())


async def test_a_fast_sender_fills_chunks():
    sender = Sender(*(piece(b"line\n" * 300) for _ in range(4)), piece(b"last", more=False))
    sizes = [len(chunk) async for chunk in sender.upload().chunks()]
    assert sizes == [CHUNK, CHUNK, 201]


async def test_the_lines_of_a_slow_sender_do_not_wait_for_company():
    sender = Sender(piece(b"one\ntw"))
    upload = sender.upload()
    await upload.begin()
    chunks = upload.chunks()
    began = time.monotonic()
    assert await anext(chunks) == [b"one"]
    assert 0.1 < time.monotonic() - began < 2
    sender.queue.put_nowait(piece(b"o\n"))
    assert await anext(chunks) == [b"two"]
    sender.queue.put_nowait(piece(b"", more=False))
    with pytest.raises(StopAsyncIteration):
        await anext(chunks)


async def test_half_a_line_of_a_caller_who_goes_is_dropped():
    sender = Sender(piece(b"one\ntw"), {"type": "http.disconnect"})
    with pytest.raises(ClientDisconnect):
        async for _ in sender.upload().chunks():
            pytest.fail("the caller was gone before the chunk was full")


async def test_an_upload_that_is_closed_reads_no_more():
    sender = Sender()
    upload = sender.upload()
    await upload.begin()
    upload.close()
    await asyncio.sleep(0)
    sender.queue.put_nowait(piece(b"kept"))
    await asyncio.sleep(0)
    assert sender.queue.qsize() == 1
    Sender().upload().close()
