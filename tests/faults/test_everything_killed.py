"""SIGKILL for every process at once while deliveries wait for Retry-After: none is lost, and none comes early."""

import asyncio
import time

import pytest
from tests.rig.fixtures import agreed, running
from tests.rig.killer import Killer
from tests.rig.lab import fcm_token

pytestmark = pytest.mark.fault

WAITING = 1000
RETRY_AFTER = 20


@pytest.fixture
def mortal():
    """A platform of the test's own, to be killed."""
    with running(measured=False) as started:
        yield started


async def test_what_waits_for_retry_after_survives_the_end_of_every_process(mortal, client_log):
    client_log.write("stated", injects={"kills": 2, "fault:throttled": WAITING})
    async with await mortal.caller(client_log, "fcm") as caller:
        await caller.import_devices(
            {"id": f"phone-{n}", "provider": "fcm", "token": fcm_token("throttled", n, RETRY_AFTER)}
            for n in range(WAITING)
        )
        sent = await caller.send({"all": True})
        throttled_at = None
        while throttled_at is None:
            await asyncio.sleep(0.1)
            arrivals = mortal.lab.of(sent["id"])
            if len(arrivals) >= WAITING:
                throttled_at = max(line["at"] for line in arrivals)
        assert {line["status"] for line in mortal.lab.of(sent["id"])} == {429}
        await asyncio.sleep(1)
        killer = Killer(mortal.reader, client_log)
        await killer.kill(*mortal.workers())
        mortal.kill_everything()
        killed_at = time.time()

    mortal.start()
    async with mortal.reopened(caller) as caller:
        ended = await caller.until_ended(sent["id"], within=90)
        assert ended["progress"]["sent"] == WAITING
        second = [line["at"] for line in mortal.lab.of(sent["id"]) if line["accepted"]]
        assert killed_at < min(second), "they did not wait: this shows nothing"
        assert min(second) >= throttled_at + RETRY_AFTER - 2
        found = agreed(mortal, caller)
        print(f"\n{WAITING} waited, all killed, back after {min(second) - killed_at:.1f} s; {found.figures}")
