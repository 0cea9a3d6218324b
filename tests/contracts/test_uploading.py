"""The client's side of an import against an API that does everything an API may do."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from aiohttp import web

from tocsin.cli import uploading
from tocsin.cli.client import Client, Endpoint, connect
from tocsin.cli.exits import Exit, Stop
from tocsin.cli.feeding import Feed
from tocsin.cli.uploading import Uploader

Upload = Callable[[web.Request, web.StreamResponse], Awaitable[None]]


class Api:
    """An API that behaves, upload by upload, as it is told."""

    def __init__(self):
        self.uploads: list[Upload | int] = []
        self.from_lines: list[int] = []
        self.url = ""

    async def serve(self, request):
        self.from_lines.append(int(request.query["from_line"]))
        act = self.uploads.pop(0)
        if isinstance(act, int):
            return web.json_response({"title": "No.", "code": "no", "detail": "Not now."}, status=act)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", "Connection": "close"})
        await response.prepare(request)
        await act(request, response)
        return response


async def say(response, *answers):
    await response.write(b"".join(orjson.dumps(answer) + b"\n" for answer in answers))


async def whole(request, response):
    """Take the lines as they come and end well."""
    first = last = int(request.query["from_line"])
    async for piece in request.content.iter_any():
        last += piece.count(b"\n")
    await say(response, {"lines": [first, last - 1], "accepted": 1, "created": 1})
    await say(response, {"done": True, "import_id": "i1", "lines": last - 1, "accepted": last - 1, "rejected": 0})


def bad(number):
    return {"line": number, "error": {"code": "malformed_json", "pointer": None, "detail": "No.", "suggestion": "Yes."}}


@pytest.fixture
async def api():
    told = Api()
    application = web.Application()
    application.router.add_post("/v1/devices/import", told.serve)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    told.url = site.name
    yield told
    await runner.cleanup()


async def upload(api, lines: bytes | int = b"one\ntwo\nthree\n", patience=5.0):
    """The last answer and everything that was told. `lines` may be a descriptor to read."""
    told: list[Any] = []
    if isinstance(lines, bytes):
        reading, writing = os.pipe()
        os.write(writing, lines)
        os.close(writing)
    else:
        reading = lines
    async with connect(Endpoint(api.url, "key")) as client:
        assert isinstance(client, Client)
        uploader = Uploader(client, "i1", Feed(reading), told.append, done=0, patience=patience)
        try:
            return await uploader.run(), told
        finally:
            os.close(reading)


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch):
    monkeypatch.setattr(uploading, "PAUSES", (0.01,))


async def test_an_upload_that_goes_well_is_told_once(api):
    api.uploads = [whole]
    last, told = await upload(api)
    assert last["lines"] == 3
    assert [each.get("lines") for each in told] == [[1, 3], 3]


@pytest.mark.parametrize("status", [409, 429, 500, 503])
async def test_an_api_that_is_busy_is_asked_again(api, status):
    api.uploads = [status, whole]
    last, _ = await upload(api)
    assert (last["lines"], api.from_lines) == (3, [1, 1])


@pytest.mark.parametrize("status", [401, 415, 422])
async def test_an_api_that_refuses_is_not_asked_again(api, status):
    api.uploads = [status]
    with pytest.raises(Stop) as stop:
        await upload(api)
    assert (stop.value.code, api.uploads) == (Exit.REFUSED, [])


async def breaks_off(request, response):
    await say(response, {"import_id": "i1", "lines": 0}, bad(1))
    await asyncio.sleep(0.05)
    request.transport.close()


async def ends_early(request, response):
    await say(response, {"import_id": "i1", "lines": 0}, bad(1))


async def cuts_a_line(request, response):
    await say(response, bad(1))
    await response.write(b'{"line": 2, "err')


async def gives_up(request, response):
    error = {"code": "database_unavailable", "detail": "Away.", "suggestion": "Wait.", "retryable": True}
    await say(response, bad(1), {"error": error})


@pytest.mark.parametrize("mishap", [breaks_off, ends_early, cuts_a_line, gives_up])
async def test_an_upload_that_breaks_off_is_sent_again_and_told_once(api, mishap):
    async def resumed(request, response):
        await say(response, bad(1))
        await whole(request, response)

    api.uploads = [mishap, resumed]
    last, told = await upload(api)
    assert last["lines"] == 3
    assert [each["line"] for each in told if "line" in each] == [1]


async def test_only_what_was_not_acknowledged_is_sent_again(api):
    reading, writing = os.pipe()
    os.write(writing, b"one\n")

    async def half(request, response):
        await request.content.readline()
        await say(response, {"lines": [1, 1], "accepted": 1, "created": 1})
        os.write(writing, b"two\nthree\n")
        os.close(writing)
        await request.content.readline()
        request.transport.close()

    api.uploads = [half, whole]
    last, _ = await upload(api, reading)
    assert (last["lines"], api.from_lines) == (3, [1, 2])


async def test_an_api_that_falls_silent_is_left(api, monkeypatch):
    monkeypatch.setattr(uploading, "QUIET", 0.05)

    async def silent(request, response):
        await say(response, {"import_id": "i1", "lines": 0})
        await asyncio.sleep(30)

    api.uploads = [silent, whole]
    last, _ = await upload(api)
    assert last["lines"] == 3


async def test_patience_ends(api):
    async def nothing(request, response):
        await say(response, {"import_id": "i1", "lines": 0})

    api.uploads = [nothing] * 100
    with pytest.raises(Stop) as stop:
        await upload(api, patience=0.1)
    assert stop.value.code is Exit.UNREACHABLE


async def test_an_answer_that_ends_the_import_ends_the_command(api):
    async def final(request, response):
        await say(response, {"error": {"code": "no", "detail": "Never.", "suggestion": None, "retryable": False}})

    api.uploads = [final]
    with pytest.raises(Stop, match=r"Never\.") as stop:
        await upload(api)
    assert stop.value.code is Exit.FAILED


async def test_lines_that_cannot_be_read_end_the_command(api, tmp_path):
    api.uploads = [whole]
    with pytest.raises(Stop, match="cannot be read on"):
        await upload(api, os.open(tmp_path, os.O_RDONLY))


async def test_what_is_not_acknowledged_is_bounded(api, monkeypatch):
    monkeypatch.setattr(uploading, "UNACKNOWLEDGED", 200_000)
    arrived = asyncio.Event()

    async def hesitant(request, response):
        taken = 0
        first = int(request.query["from_line"])

        async def take():
            nonlocal taken
            async for piece in request.content.iter_any():
                taken += piece.count(b"\n")
            arrived.set()

        taking = asyncio.create_task(take())
        await asyncio.sleep(0.3)
        assert taken * 1000 < 400_000, "more was sent than may be unacknowledged"
        while not arrived.is_set():
            await asyncio.sleep(0.01)
            if taken:
                await say(response, {"lines": [first, taken], "accepted": taken, "created": taken})
        await taking
        await say(response, {"done": True, "import_id": "i1", "lines": taken, "accepted": taken, "rejected": 0})

    api.uploads = [hesitant]
    reading, writing = os.pipe()

    def feed():
        for _ in range(1000):
            os.write(writing, b"x" * 999 + b"\n")
        os.close(writing)

    feeding = asyncio.create_task(asyncio.to_thread(feed))
    last, _ = await upload(api, reading)
    await feeding
    assert last["lines"] == 1000


async def test_somebody_who_looks_sees_a_bar(api, tmp_path):
    """On a terminal: the number of lines done, the refused ones above it, and the sum in the end."""
    file = tmp_path / "devices.ndjson"
    file.write_bytes(b"one\ntwo\nthree\n")

    async def slowly(request, response):
        await say(response, bad(1))
        await asyncio.sleep(0.6)
        await whole(request, response)

    api.uploads = [slowly]
    ours, theirs = os.openpty()
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tocsin.cli", "devices", "import", str(file)),
        stdout=asyncio.subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TOCSIN_API_URL": api.url, "TOCSIN_API_KEY": "key", "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    out, _ = await program.communicate()
    seen = b""
    while piece := await asyncio.to_thread(_read, ours):
        seen += piece
    os.close(ours)
    assert program.returncode == 0
    assert b"3 lines, 3 accepted" in out
    assert b"lines done" in seen
    assert b"line 1: malformed_json" in seen


def _read(descriptor):
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # what Linux says at the end of a terminal
        return b""
