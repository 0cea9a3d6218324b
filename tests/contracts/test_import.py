"""Imports over HTTP: answered while they are sent, exact after every accident, in constant memory."""

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import time
from pathlib import Path

import aiohttp
import orjson
import pytest
from tests.contracts.devices_api import key, serving

from tocsin.audience import devices, imports
from tocsin.terms import ids

ME, STRANGER = ids.new(), ids.new()
NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
async def api(database):
    async with serving(database) as url, aiohttp.ClientSession(url, headers=key(ME)) as session:
        yield session


def line(number, **more):
    return orjson.dumps({"id": f"phone-{number:07}", "provider": "fcm", "token": f"token-{number:012}"} | more) + b"\n"


async def upload(api, body, **query):
    """All answers of an upload that ends by itself."""
    async with api.post("/v1/devices/import", params=query, data=body, headers=NDJSON) as answer:
        assert answer.status == 200, await answer.text()
        return [orjson.loads(each) async for each in answer.content]


async def pieces(lines):
    for start in range(0, len(lines), 500):
        yield b"".join(lines[start : start + 500])


async def state(api, import_id):
    async with api.get(f"/v1/devices/imports/{import_id}") as answer:
        return await answer.json()


async def count(database, where="true"):
    async with database.scope(ME) as tx:
        return await tx.fetchval(f"select count(*) from audience.devices where {where}")


def errors(answers):
    return {each["line"]: each["error"]["code"] for each in answers if "line" in each}


def covered(answers):
    """The ranges, which must follow each other without a gap."""
    ranges = [each["lines"] for each in answers if isinstance(each.get("lines"), list)]
    for (_, end), (start, _) in itertools.pairwise(ranges):
        assert start == end + 1
    return ranges and [ranges[0][0], ranges[-1][1]]


async def test_every_line_is_counted_and_the_good_ones_are_in(api, database):
    answers = await upload(api, b"".join(line(number) for number in range(1200)), import_id="i1")
    assert answers[0] == {"import_id": "i1", "lines": 0}
    assert answers[-1] == {"done": True, "import_id": "i1", "lines": 1200, "accepted": 1200, "rejected": 0}
    assert covered(answers) == [1, 1200]
    assert sum(each.get("created", 0) for each in answers) == 1200
    assert await count(database, "state = 'active'") == 1200
    again = await upload(api, line(5) + line(9_999))
    assert again[0]["import_id"].startswith("imp_")
    assert (again[1]["accepted"], again[1]["created"]) == (2, 1)


async def test_answers_come_while_the_upload_still_runs(api):
    sent: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def slowly():
        while (piece := await sent.get()) is not None:
            yield piece

    async with api.post("/v1/devices/import", data=slowly(), headers=NDJSON, expect100=True) as answer:
        assert orjson.loads(await answer.content.readline())["lines"] == 0, "before a single line was sent"
        for number in range(1, 4):
            sent.put_nowait(line(number))
            began = time.monotonic()
            assert orjson.loads(await answer.content.readline())["lines"] == [number, number]
            assert time.monotonic() - began < 2
        sent.put_nowait(b'{"id": "x"')
        sent.put_nowait(b"}\n")
        assert orjson.loads(await answer.content.readline())["error"]["code"] == "missing_field"
        assert orjson.loads(await answer.content.readline())["accepted"] == 0
        sent.put_nowait(None)
        assert orjson.loads(await answer.content.readline())["done"] is True
        assert await answer.content.readline() == b""


async def test_a_bad_line_is_told_with_its_number_and_reason(api, database):
    bad = [
        b"not json\n",
        b'{"id": "a", "provider": "fcm", "token": "\xff\xfe567890"}\n',
        b"[]\n",
        line(1, locale="klingonic"),
        line(1, timezone="Mars/Base"),
        line(1, token="short"),
        line(1, plan="gold"),
        line(1, id=""),
        b'{"id": "long", "attributes": "' + b"x" * 70_000 + b'"}\n',
        b'{"provider": "fcm", "token": "token-without-id"}\n',
    ]
    blank = b"\n \t\r\n"
    answers = await upload(api, b"".join([line(1), *bad, blank, line(2).rstrip(b"\n")]))
    assert list(errors(answers).items()) == [
        (2, "malformed_json"),
        (3, "malformed_json"),
        (4, "invalid_field"),
        (5, "unknown_locale"),
        (6, "unknown_timezone"),
        (7, "invalid_token"),
        (8, "unknown_field"),
        (9, "invalid_field"),
        (10, "too_large"),
        (11, "missing_field"),
    ]
    for each in answers:
        if "error" in each:
            assert each["error"]["detail"]
            assert each["error"]["suggestion"]
    assert (answers[-1]["lines"], answers[-1]["accepted"], answers[-1]["rejected"]) == (14, 2, 10)
    assert await count(database) == 2


async def test_within_an_import_the_last_line_wins(api, database):
    body = [
        line(1, user_id="first"),
        line(2, token="shared-token"),
        line(3, token="shared-token"),
        line(1, user_id="last"),
    ]
    answers = await upload(api, b"".join(body))
    assert answers[-1]["accepted"] == 4
    assert await count(database, "external_id = 'phone-0000001' and user_id = 'last'") == 1
    assert await count(database, "external_id = 'phone-0000002' and state = 'superseded' and token is null") == 1
    assert await count(database, "external_id = 'phone-0000003' and state = 'active'") == 1


async def test_an_upload_that_is_sent_again_is_done_once_and_answers_the_same(api, database):
    body = b"".join([line(1), b"bad\n", line(2), b"\n"])
    first = await upload(api, body, import_id="i1")
    second = await upload(api, body, import_id="i1")
    assert second[0]["lines"] == 4
    assert errors(second) == errors(first) == {2: "malformed_json"}
    assert second[-2] == {"lines": [1, 4], "seen": True}
    assert second[-1] == first[-1] == {"done": True, "import_id": "i1", "lines": 4, "accepted": 2, "rejected": 1}
    longer = await upload(api, body + line(3), import_id="i1")
    assert (longer[-1]["lines"], longer[-1]["accepted"]) == (5, 3)
    found = await state(api, "i1")
    assert (found["lines"], found["accepted"], found["rejected"], found["finished"]) == (5, 3, 1, True)


async def test_an_upload_goes_on_from_any_line_that_leaves_no_gap(api):
    await upload(api, line(1) + line(2), import_id="i1")
    answers = await upload(api, line(2) + b"bad\n" + line(3), import_id="i1", from_line="2")
    assert answers[1] == {"lines": [2, 2], "seen": True}
    assert errors(answers) == {3: "malformed_json"}
    assert (answers[-1]["lines"], answers[-1]["accepted"], answers[-1]["rejected"]) == (4, 3, 1)
    query = {"import_id": "i1", "from_line": "6"}
    async with api.post("/v1/devices/import", params=query, headers=NDJSON) as answer:
        assert (answer.status, (await answer.json())["code"]) == (422, "invalid_parameter")


async def test_a_caller_who_goes_half_way_leaves_whole_chunks_and_no_half_line(api, database):
    async def half():
        yield line(1) + line(2) + line(3)[:20]
        await asyncio.Event().wait()

    async with api.post("/v1/devices/import", params={"import_id": "i1"}, data=half(), headers=NDJSON) as answer:
        await answer.content.readline()
        await answer.content.readline()
        answer.close()
    async with asyncio.timeout(5):
        while (found := await state(api, "i1"))["lines"] != 2:
            await asyncio.sleep(0.05)
    assert not found["finished"]
    assert await count(database) == 2
    answers = await upload(api, line(1) + line(2) + line(3), import_id="i1")
    assert answers[-1]["accepted"] == 3


async def test_a_second_upload_of_a_running_import_is_refused(api):
    going = asyncio.Event()

    async def held():
        yield line(1)
        await going.wait()

    async with api.post("/v1/devices/import", params={"import_id": "i1"}, data=held(), headers=NDJSON) as answer:
        await answer.content.readline()
        for who, status in ((key(ME), 409), (key(STRANGER), 200)):
            query = {"import_id": "i1"}
            async with api.post("/v1/devices/import", params=query, headers=NDJSON | who) as second:
                assert second.status == status
                if status == 409:
                    assert (await second.json())["code"] == "in_progress"
                    assert int(second.headers["retry-after"]) > 0
        going.set()
        assert orjson.loads((await answer.read()).splitlines()[-1])["done"] is True


async def test_an_upload_that_another_process_has_overtaken_stops(api, database):
    going = asyncio.Event()

    async def held():
        yield line(1)
        await going.wait()
        yield line(2)

    async with api.post("/v1/devices/import", params={"import_id": "i1"}, data=held(), headers=NDJSON) as answer:
        await answer.content.readline()
        await answer.content.readline()
        async with serving(database) as url, aiohttp.ClientSession(url, headers=key(ME)) as other:
            assert (await upload(other, line(1) + line(2), import_id="i1"))[-1]["accepted"] == 2
        going.set()
        last = orjson.loads((await answer.read()).splitlines()[-1])
        assert (last["error"]["code"], last["error"]["retryable"]) == ("in_progress", True)
    assert (await state(api, "i1"))["accepted"] == 2


async def test_locks_that_others_hold_too_long_stop_an_import_where_it_can_be_resumed(api, database, monkeypatch):
    monkeypatch.setattr(imports, "TRIES", 1)
    held = [devices.Registration(name, "fcm", "production", name, None, None, None, None, {}) for name in ("x", "y")]
    async with database.scope(ME) as tx:
        await devices.register(tx, ME, held)
        importing = asyncio.create_task(upload(api, line(1) + line(2), import_id="i1"))
        async with api.put("/v1/devices/x", json={"provider": "fcm", "token": "token-of-x"}) as answer:
            assert (answer.status, answer.headers["retry-after"]) == (503, "2")
        answers = await importing
    assert answers[-1]["error"]["code"] == "database_unavailable"
    assert answers[-1]["error"]["retryable"]
    assert (await upload(api, line(1) + line(2), import_id="i1"))[-1]["accepted"] == 2


async def test_other_bodies_and_names_are_refused(api):
    async with api.post("/v1/devices/import", json={}) as answer:
        assert (answer.status, (await answer.json())["code"]) == (415, "unsupported_media_type")
    async with api.post("/v1/devices/import", params={"import_id": "a b"}, headers=NDJSON) as answer:
        assert (answer.status, (await answer.json())["code"]) == (422, "invalid_parameter")


async def test_a_client_that_sends_everything_before_it_reads_is_not_stuck(database):
    """20,000 good lines and 4,000 bad ones: as much is answered as a naive client's socket holds, and more."""
    body = b"".join(line(number) if number % 6 else b"bad\n" for number in range(24_000))
    async with serving(database) as url:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=4096)
        head = f"POST /v1/devices/import HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key-{ME}\r\n"
        writer.write(f"{head}Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        async with asyncio.timeout(50):
            for start in range(0, len(body), 1 << 16):
                writer.write(body[start : start + (1 << 16)])
                await writer.drain()
            answer = await reader.read(-1)
        writer.close()
        await writer.wait_closed()
    assert b'"accepted":20000,"rejected":4000' in answer


@contextlib.asynccontextmanager
async def process(dsn, port):
    """The API as a process of its own; gives it and its URL."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.contracts.devices_api", dsn, str(port), stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    try:
        async for each in program.stdout:  # the log comes before it
            if each.startswith(b"http://"):
                break
        else:
            pytest.fail("the API did not start")
        url = each.decode().strip()
        yield program, url
    finally:
        with contextlib.suppress(ProcessLookupError):
            program.kill()
        await program.wait()


def resident(pid):
    """MiB of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is measured through /proc")
async def test_an_import_takes_constant_memory(database_dsns):
    async with process(database_dsns.app, 0) as (program, url), aiohttp.ClientSession(url, headers=key(ME)) as api:
        await upload(api, line(0))
        idle, peak = resident(program.pid), 0.0

        async def lines():
            nonlocal peak
            for start in range(0, 100_000, 1000):
                peak = max(peak, resident(program.pid))
                yield b"".join(line(number) if number % 1000 else b"bad\n" for number in range(start, start + 1000))

        answers = await upload(api, lines())
        assert (answers[-1]["accepted"], answers[-1]["rejected"]) == (99_900, 100)
        assert max(peak, resident(program.pid)) - idle < 60


async def test_an_import_survives_the_death_of_the_api(database_dsns, database):
    body = [line(number) if number % 100 else b"bad\n" for number in range(1, 20_001)]
    async with process(database_dsns.app, 0) as (program, url), aiohttp.ClientSession(url, headers=key(ME)) as api:
        query = {"import_id": "i1"}
        with pytest.raises(aiohttp.ClientError):
            async with api.post("/v1/devices/import", params=query, data=pieces(body), headers=NDJSON) as answer:
                async for each in answer.content:
                    if b'"accepted"' in each and program.returncode is None:
                        program.send_signal(signal.SIGKILL)
    async with process(database_dsns.app, 0) as (_, url), aiohttp.ClientSession(url, headers=key(ME)) as api:
        done = (await state(api, "i1"))["lines"]
        assert 0 < done < 20_000
        answers = await upload(api, pieces(body[done:]), import_id="i1", from_line=str(done + 1))
        assert answers[-1] == {"done": True, "import_id": "i1", "lines": 20_000, "accepted": 19_800, "rejected": 200}
    assert await count(database, "state = 'active'") == 19_800
