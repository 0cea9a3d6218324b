"""`tocsin devices import`, as a process, against the API as a process."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import aiohttp
import orjson
import pytest
from tests.contracts.devices_api import key, serving
from tests.contracts.test_import import line, process, resident

from tocsin.terms import ids

ME = ids.new()
PIPE = asyncio.subprocess.PIPE


@pytest.fixture
async def url(database):
    async with serving(database) as url:
        yield url


async def start(url, *words, app=ME):
    environment = {**os.environ, "TOCSIN_API_URL": url, "TOCSIN_API_KEY": f"key-{app}", "NO_COLOR": "1"}
    command = (sys.executable, "-m", "tocsin.cli", "devices", *words)
    return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment)


async def tocsin(url, *words, given=b"", app=ME):
    """Run a command to its end; gives its exit code, what it wrote to stdout and to stderr."""
    program = await start(url, *words, app=app)
    out, err = await program.communicate(given)
    return program.returncode, out.decode(), err.decode()


async def state(url, import_id):
    async with (
        aiohttp.ClientSession(url, headers=key(ME)) as api,
        api.get(f"/v1/devices/imports/{import_id}") as answer,
    ):
        return await answer.json()


async def test_good_lines_end_with_success_and_the_counts(url, tmp_path):
    file = tmp_path / "devices.ndjson"
    file.write_bytes(b"".join(line(number) for number in range(700)) + line(701).rstrip())
    code, out, err = await tocsin(url, "import", str(file))
    assert (code, err) == (0, "")
    assert "701 lines, 701 accepted, 0 refused" in out


async def test_refused_lines_are_told_kept_and_end_with_one(url, tmp_path):
    kept = tmp_path / "refused.ndjson"
    given = line(1) + b"".join(b"bad %d\n" % number for number in range(30)) + line(2)
    code, out, err = await tocsin(url, "import", "-", "--errors", str(kept), given=given)
    assert code == 1
    assert "32 lines, 2 accepted, 30 refused" in out
    assert "line 2: malformed_json" in err
    assert err.count("malformed_json") == 20
    assert "--errors FILE keeps them all" in err
    assert [orjson.loads(each)["line"] for each in kept.read_bytes().splitlines()] == list(range(2, 32))


async def test_answers_come_while_the_pipe_is_still_open(url):
    program = await start(url, "import", "-", "--json")
    program.stdin.write(line(1) + b"bad\n")
    async with asyncio.timeout(30):
        assert orjson.loads(await program.stdout.readline())["line"] == 2
        assert orjson.loads(await program.stdout.readline())["lines"] == [1, 2]
    out, _ = await program.communicate(line(3))
    last = orjson.loads(out.splitlines()[-1])
    assert (last["done"], last["accepted"], last["rejected"]) == (True, 2, 1)
    assert program.returncode == 1


async def test_an_import_goes_on_where_it_stopped(url, tmp_path):
    lines = [line(number) if number % 7 else b"bad\n" for number in range(1, 101)]
    async with aiohttp.ClientSession(url, headers=key(ME)) as api:
        query, headers = {"import_id": "i1"}, {"Content-Type": "application/x-ndjson"}
        async with api.post("/v1/devices/import", params=query, headers=headers, data=b"".join(lines[:40])) as answer:
            await answer.read()
    file = tmp_path / "devices.ndjson"
    file.write_bytes(b"".join(lines))
    code, out, err = await tocsin(url, "import", str(file), "--import-id", "i1")
    assert code == 1
    assert "line 42:" in err
    assert "line 35:" not in err, "what an earlier upload was told is not told again"
    assert "100 lines, 86 accepted, 14 refused" in out


async def test_an_import_survives_the_death_of_the_api_behind_a_pipe(database_dsns, database, tmp_path):
    lines = [line(number) if number % 100 else b"bad\n" for number in range(1, 30_001)]
    kept = tmp_path / "refused.ndjson"
    async with process(database_dsns.app, 0) as (api, url):
        program = await start(url, "import", "-", "--import-id", "i1", "--errors", str(kept))
        for begin in range(0, len(lines), 1000):
            program.stdin.write(b"".join(lines[begin : begin + 1000]))
            await program.stdin.drain()
            if begin == 15_000:
                async with asyncio.timeout(30):
                    while (await state(url, "i1"))["lines"] < 5_000:
                        await asyncio.sleep(0.02)
                api.send_signal(signal.SIGKILL)
                await api.wait()
                break
        async with process(database_dsns.app, int(url.rpartition(":")[2])):
            program.stdin.write(b"".join(lines[begin + 1000 :]))
            out, err = await program.communicate(b"")
            last = await state(url, "i1")
    assert program.returncode == 1
    assert "went away" in err.decode()
    assert "30,000 lines, 29,700 accepted, 300 refused" in out.decode()
    assert (last["lines"], last["accepted"], last["rejected"], last["finished"]) == (30_000, 29_700, 300, True)
    assert [orjson.loads(each)["line"] for each in kept.read_bytes().splitlines()] == list(range(100, 30_001, 100))
    async with database.scope(ME) as tx:
        assert await tx.fetchval("select count(*) from audience.devices") == 29_700


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is measured through /proc")
async def test_an_import_through_a_pipe_takes_constant_memory(url):
    program = await start(url, "import", "-", "--json")
    program.stdin.write(line(0) + b'"' + b"x" * 200_000 + b'"\n')
    answers = []

    async def listen():
        while each := await program.stdout.readline():
            answers.append(orjson.loads(each))

    listening = asyncio.create_task(listen())
    while len(answers) < 2:
        await asyncio.sleep(0.01)
    idle, peak = resident(program.pid), 0.0
    for start_at in range(0, 60_000, 1000):
        program.stdin.write(b"".join(line(number) for number in range(start_at, start_at + 1000)))
        await program.stdin.drain()
        peak = max(peak, resident(program.pid))
    program.stdin.close()
    await program.wait()
    await listening
    assert answers[0]["error"]["code"] == "too_large"
    assert (answers[-1]["accepted"], answers[-1]["rejected"]) == (60_001, 1)
    assert peak - idle < 60


async def test_what_cannot_begin_says_why(url, tmp_path):
    code, _, err = await tocsin(url, "import", str(tmp_path / "nothing"))
    assert (code, "cannot be read" in err) == (2, True)
    code, _, err = await tocsin(url, "import", "-", "--errors", str(tmp_path), given=line(1))
    assert (code, "cannot be written" in err) == (2, True)
    code, _, err = await tocsin("http://127.0.0.1:9", "import", "-", given=line(1))
    assert (code, "cannot be reached" in err) == (4, True)
    code, _, err = await tocsin(url, "import", "-", "--import-id", "no good", given=line(1))
    assert (code, "422" in err or "parameter" in err) == (3, True)


async def test_one_device_is_read_listed_logged_out_and_deleted(url):
    await tocsin(url, "import", "-", given=line(1, user_id="u1") + line(2))
    name = "phone-0000001"
    code, out, _ = await tocsin(url, "get", name, "--json")
    assert (code, orjson.loads(out)["user_id"]) == (0, "u1")
    code, out, _ = await tocsin(url, "list", "--user", "u1")
    assert (code, name in out, "phone-0000002" in out) == (0, True, False)
    code, out, _ = await tocsin(url, "logout", name)
    assert (code, out.split()) == (0, [name, "logged_out"])
    code, _, err = await tocsin(url, "delete", name)
    assert (code, "Delete" in err) == (1, True), "without a yes nothing is deleted"
    code, out, _ = await tocsin(url, "delete", name, "--yes")
    assert (code, out.split()) == (0, [name, "deleted"])
    code, _, err = await tocsin(url, "get", name)
    assert (code, "nothing with this id" in err) == (3, True)


async def test_a_stranger_finds_no_import_to_go_on_with(url):
    await tocsin(url, "import", "-", "--import-id", "i1", given=line(1))
    code, out, _ = await tocsin(url, "import", "-", "--import-id", "i1", "--json", given=line(1), app=ids.new())
    assert code == 0
    assert orjson.loads(out.splitlines()[-1])["lines"] == 1
    assert (await state(url, "i1"))["lines"] == 1
