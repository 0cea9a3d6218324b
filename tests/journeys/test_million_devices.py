"""A million devices through a pipe: answered while they are still being sent, in constant memory, counted exactly."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.rig.fixtures import running, unmeasured
from tests.rig.killer import count
from tests.rig.platform import ROOT

LINES = int(os.environ.get("TOCSIN_IMPORT_LINES", "1000000"))
BAD_EVERY = 1000
"""0.1 % of the lines are bad."""
ROOM = 60 * 1024
"""KiB above idle that the API and the command line may take."""
TAIL = "x" * 120
BAD = (
    '{"id": "phone-{n}", "provider": "fcm", "token": "short"}',
    '{"id": "phone-{n}", "provider": "fcm", "tokn": "misspelt"}',
    '{"id": "phone-{n}", "provider": "fcm"',
    '{"id": "phone-{n}", "provider": "fcm", "token": "million-{n}____:APA91b' + TAIL + '", "timezone": "Mars/Olympus"}',
)


def line(n):
    if n % BAD_EVERY == 0:
        return BAD[n // BAD_EVERY % len(BAD)].replace("{n}", str(n)) + "\n"
    return f'{{"id": "phone-{n}", "provider": "fcm", "token": "million-{n:07}:APA91b{TAIL}", "user_id": "u{n // 2}"}}\n'


def memory(pid, what):
    """`VmRSS` or `VmHWM` (the peak) of a process, in KiB."""
    for text in Path(f"/proc/{pid}/status").read_text().splitlines():
        if text.startswith(what):
            return int(text.split()[1])
    raise ProcessLookupError(pid)


def forget_peak(pid):
    Path(f"/proc/{pid}/clear_refs").write_text("5")


class Feeder(threading.Thread):
    """Writes the lines into the pipe as fast as they are taken; `sent` is how many."""

    def __init__(self, pipe):
        super().__init__(daemon=True)
        self.pipe, self.sent = pipe, 0

    def run(self):
        for first in range(1, LINES + 1, 500):
            last = min(first + 500, LINES + 1)
            self.pipe.write("".join(map(line, range(first, last))).encode())
            self.sent = last - 1
        self.pipe.close()


@pytest.fixture
def own():
    """A platform of the test's own, so that a million devices are nobody else's burden."""
    with running(measured=False) as started:
        yield started


async def test_a_million_devices_come_in_through_a_pipe(own, client_log):
    async with await own.caller(client_log, "fcm") as caller:
        api = own.pids["api"]
        env = {**unmeasured(), "TOCSIN_API_URL": caller.api_url, "TOCSIN_API_KEY": caller.key}
        with subprocess.Popen(
            [sys.executable, "-m", "tocsin.cli", "devices", "import", "-", "--json"],
            cwd=ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as command:
            try:
                await asyncio.to_thread(watch, command, api)
            finally:
                command.kill()
        devices = "select count(*) from audience.devices d where state = 'active' and token like 'million-%'"
        assert await count(own.reader, devices) == LINES - LINES // BAD_EVERY


def watch(command, api):
    """Feed the command, read its answers, and look at what it and the API need."""
    time.sleep(3)  # until both have nothing to do
    idle_command, idle_api = memory(command.pid, "VmRSS"), memory(api, "VmRSS")
    forget_peak(command.pid)
    forget_peak(api)
    feeder, began = Feeder(command.stdin), time.monotonic()
    feeder.start()
    refused, first_answer_after, last, peak_command = [], None, {}, 0
    for number, text in enumerate(command.stdout):
        last = json.loads(text)
        if "lines" in last and last.get("accepted") and first_answer_after is None:
            first_answer_after = feeder.sent
        if "line" in last:
            refused.append(last["line"])
        if number % 20 == 0:
            peak_command = max(peak_command, memory(command.pid, "VmHWM"))
    took = time.monotonic() - began
    code = command.wait(30)
    grown_command, grown_api = peak_command - idle_command, memory(api, "VmHWM") - idle_api
    print(
        f"\n{LINES} lines in {took:.1f} s ({LINES / took:.0f}/s); the first answer after {first_answer_after} lines; "
        f"above idle: API {grown_api / 1024:.1f} MiB, command {grown_command / 1024:.1f} MiB"
    )
    bad = LINES // BAD_EVERY
    assert (last["done"], last["lines"], last["accepted"], last["rejected"]) == (True, LINES, LINES - bad, bad)
    assert refused == list(range(BAD_EVERY, LINES + 1, BAD_EVERY))
    assert code == 1, "lines were refused, so the command says so"
    assert first_answer_after is not None
    assert first_answer_after < LINES / 2, "nothing was answered while lines were still being sent"
    assert grown_api < ROOM
    assert grown_command < ROOM
