"""A worker that stands still for longer than its lease and then wakes: its work was taken over, it spoils nothing."""

import asyncio
import os
import signal

import pytest
from tests.rig.fixtures import agreed
from tests.rig.killer import Killer, count
from tests.rig.lab import fcm_token

pytestmark = pytest.mark.fault

DEVICES = 4000


RESCUED = """
select count(*) from ledger.batches
where epoch > 1 and begun_at is not null and settled_at is null and holder not like '%:' || $1 || ':%'
"""


async def rescue_begins(platform, caller, frozen, notification):
    """Wait until another worker has what the frozen one had begun on the wire: the zombie wakes in the midst of it."""
    async with asyncio.timeout(60):
        while not await count(platform.reader, RESCUED, [str(frozen)]):
            await asyncio.sleep(0.02)


async def rescue_ends(platform, caller, frozen, notification):
    """Wait until all is over: the zombie wakes to a notification that has ended."""
    await caller.until_ended(notification, within=90)


@pytest.mark.parametrize(("on_ambiguity", "wake"), [("resend", rescue_begins), ("drop", rescue_ends)])
async def test_a_worker_that_outlives_its_lease_is_fenced(platform, caller, on_ambiguity, wake):
    caller.log.write("stated", injects={"kills_that_hit": 1})
    await caller.import_devices(
        {"id": f"phone-{n}", "provider": "fcm", "token": fcm_token("ordinary", f"{caller.app_id}-{n}")}
        for n in range(DEVICES)
    )
    await platform.lab.inject(kind="latency", name="slow", provider="fcm", latency_ms=[400, 800])
    killer, frozen = Killer(platform.reader, caller.log), None
    try:
        sent = await caller.send({"all": True}, options={"on_ambiguity": on_ambiguity})
        while frozen is None:
            await asyncio.sleep(0.05)
            frozen = await killer.freeze(*platform.workers())
        await wake(platform, caller, frozen, sent["id"])
        before = len(platform.lab.of(sent["id"]))
    finally:
        if frozen is not None:
            os.kill(frozen, signal.SIGCONT)
        ended = await caller.until_ended(sent["id"], within=90)
        await platform.lab.heal()
    await asyncio.sleep(3)
    assert frozen in platform.workers(), "the zombie did not come back: this shows nothing"

    (begun,) = killer.begun
    figures = agreed(platform, caller).figures
    print(f"\n{begun} begun by the zombie, {len(platform.lab.of(sent['id'])) - before} left after it woke; {figures}")
    assert figures["ambiguous"] == begun
    lost = begun if on_ambiguity == "drop" else 0
    assert (ended["progress"]["sent"], ended["progress"]["failed"]) == (DEVICES - lost, lost)
    after = await caller.read(sent["id"])
    assert after["progress"] == ended["progress"]
