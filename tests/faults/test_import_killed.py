"""SIGKILL for the API half-way of an import: resumed, it ends as if nothing had happened."""

import asyncio
import json
import os
import signal

import aiohttp
import pytest
from tests.rig.lab import fcm_token

pytestmark = pytest.mark.fault

LINES = 40_000
BAD_EVERY = 1000


def line(app, n):
    token = "not a token" if n % BAD_EVERY == 0 else fcm_token("ordinary", f"{app}-import-{n}")
    return json.dumps({"id": f"phone-{n}", "provider": "fcm", "token": token}).encode() + b"\n"


async def upload(caller, *, name, first, when=None):
    """Upload the lines from `first` on; `when` is awaited half-way. Gives the answers that came, whole or not."""

    async def body():
        for n in range(first, LINES + 1):
            yield line(caller.app_id, n)
            if when is not None and n == LINES // 2:
                await when()

    answers = []
    url = f"{caller.api_url}/v1/devices/import?import_id={name}&from_line={first}"
    headers = {"Authorization": f"Bearer {caller.key}", "Content-Type": "application/x-ndjson"}
    try:
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(url, data=body()) as answer,
        ):
            async for text in answer.content:
                answers.append(json.loads(text))  # noqa: PERF401 (what came before the end is wanted, too)
    except (aiohttp.ClientError, ValueError, OSError):
        return answers
    return answers


async def test_an_import_whose_server_was_killed_goes_on_where_it_was(platform, caller):
    killed = []

    async def kill():
        for _ in range(200):
            state = await caller.call("GET", "/v1/devices/imports/half")
            if state["lines"] > 0:
                break
            await asyncio.sleep(0.05)
        killed.append(platform.pids["api"])
        os.kill(killed[0], signal.SIGKILL)

    await upload(caller, name="half", first=1, when=kill)
    assert len(killed) == 1
    for _ in range(200):
        try:
            state = await caller.call("GET", "/v1/devices/imports/half")
            break
        except (aiohttp.ClientError, OSError):
            await asyncio.sleep(0.1)
    assert 0 < state["lines"] < LINES, "the import was over or had not begun: this shows nothing"
    assert not state["finished"]

    answers = await upload(caller, name="half", first=state["lines"] + 1)
    bad = LINES // BAD_EVERY
    last = answers[-1]
    assert (last["done"], last["lines"], last["accepted"], last["rejected"]) == (True, LINES, LINES - bad, bad)
    devices = [each["id"] async for each in caller.pages("/v1/devices", limit="1000")]
    assert len(devices) == len(set(devices)) == LINES - bad
