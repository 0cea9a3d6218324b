"""A broadcast while a worker is killed with SIGKILL each second: nobody is lost, and every second copy is explained."""

import asyncio
import contextlib
import os
import time

import pytest
from tests.rig.caller import ENDED
from tests.rig.fixtures import agreed, running
from tests.rig.killer import Killer
from tests.rig.lab import fcm_token

pytestmark = pytest.mark.fault

DEVICES = int(os.environ.get("TOCSIN_FAULT_DEVICES", "100000"))
HITS = 20
"""Kills that must have met a worker with something begun; a smaller run must have met fewer."""
LEAST_HITS = max(1, min(HITS, DEVICES // 4000))
MAGIC = (
    "dead",
    "bad",
    "mismatch",
    "throttled",
    "throttled-bare",
    "error-once",
    "busy-once",
    "cut",
    "apns-dead",
    "slow",
)
SLOW = [400, 800]
"""Milliseconds that the provider takes to answer, so that most kills meet something on the wire."""
KILLING = 60.0
"""Seconds after which no more is killed: what is left then ends in peace."""
ONE_IN = 33
"""3 % of the devices have a magic token."""


def token(app, n):
    if n % ONE_IN == 0:
        return fcm_token(MAGIC[n // ONE_IN % len(MAGIC)], f"{app}-{n}")
    return fcm_token("ordinary", f"{app}-{n}")


@pytest.fixture
def mortal():
    """A platform of the test's own. Of four workers each lives four seconds, a good part of which is its start."""
    with running(workers=4, measured=False) as started:
        yield started


async def kill_each_second(platform, caller, killer, notification):
    """Kill the workers in turn, one a second, until the notification has ended."""
    turn, began = 0, time.monotonic()
    while time.monotonic() < began + KILLING:
        await asyncio.sleep(1.0)
        if (await caller.call("GET", f"/v1/notifications/{notification}"))["status"] in ENDED:
            return
        workers = platform.workers()
        with contextlib.suppress(ProcessLookupError):  # this one has not been started again yet
            await killer.kill(workers[turn % len(workers)])
        turn += 1


async def test_a_broadcast_survives_a_worker_killed_each_second(mortal, client_log):
    cuts = DEVICES // ONE_IN // len(MAGIC) // 2
    client_log.write("stated", injects={"kills_that_hit": LEAST_HITS, "fault:cut": cuts})
    async with await mortal.caller(client_log, "fcm") as caller:
        lines = (
            {"id": f"phone-{n}", "provider": "fcm", "token": token(caller.app_id, n), "user_id": f"user-{n}"}
            for n in range(DEVICES)
        )
        assert await caller.import_devices(lines) == DEVICES
        await mortal.lab.call("POST", "/lab/settings", {"latency_ms": SLOW})

        began = time.monotonic()
        sent = await caller.send({"all": True})
        killer = Killer(mortal.reader, client_log)
        await kill_each_second(mortal, caller, killer, sent["id"])
        ended = await caller.until_ended(sent["id"], within=180)
        took = time.monotonic() - began

        assert ended["status"] == "completed"
        assert ended["progress"]["targeted"] == DEVICES
        assert ended["progress"]["failed"] == 0
        found = agreed(mortal, caller)
        print(f"\n{DEVICES} devices in {took:.1f} s; {killer.hits} of {len(killer.begun)} kills hit; {found.figures}")
        assert killer.hits >= LEAST_HITS
