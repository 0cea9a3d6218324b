"""Cancel, pause and resume, and the time to live, by what leaves for the provider and not by what is said."""

import asyncio
import time

import pytest
from tests.rig.caller import ENDED, Answered
from tests.rig.fixtures import agreed
from tests.rig.lab import fcm_token

MANY = 12_000


async def many_phones(caller, count=MANY):
    await caller.import_devices(
        {"id": f"phone-{n}", "provider": "fcm", "token": fcm_token("ordinary", f"{caller.app_id}-{n}")}
        for n in range(count)
    )


@pytest.fixture
async def slow_provider(platform):
    """The provider answers half a second later, so that there is a half-way."""
    await platform.lab.inject(kind="latency", name="slow", provider="fcm", latency_ms=[400, 600])
    yield
    await platform.lab.heal()


async def test_nothing_leaves_after_a_cancel_and_the_counts_add_up(platform, caller, slow_provider):
    await many_phones(caller)
    sent = await caller.send({"all": True})
    await caller.until(sent["id"], lambda reply: reply["progress"]["sent"] >= 500, within=30)
    moved = await caller.move(sent["id"], "cancel")
    cancelled_at = time.time()
    assert moved["status"] in ("cancelling", "cancelled")
    ended = await caller.until_ended(sent["id"], within=40)
    assert ended["status"] == "cancelled"
    await asyncio.sleep(max(0.0, cancelled_at + 8 - time.time()))

    progress = ended["progress"]
    assert progress["sent"] + progress["cancelled"] == progress["targeted"]
    assert progress["cancelled"] > 0
    arrivals = [line["at"] for line in platform.lab.of(sent["id"])]
    assert max(arrivals) < cancelled_at + 5, "a request left more than 5 s after the cancel"
    assert len(arrivals) < MANY
    agreed(platform, caller)


async def test_a_paused_notification_sends_nothing_until_it_is_resumed(platform, caller, slow_provider):
    await many_phones(caller)
    sent = await caller.send({"all": True})
    await caller.until(sent["id"], lambda reply: reply["progress"]["sent"] >= 500, within=30)
    assert (await caller.move(sent["id"], "pause"))["status"] == "paused"
    await asyncio.sleep(4)
    before = len(platform.lab.of(sent["id"]))
    await asyncio.sleep(3)
    assert len(platform.lab.of(sent["id"])) == before < MANY
    assert (await caller.read(sent["id"]))["status"] == "paused"

    assert (await caller.move(sent["id"], "resume"))["status"] == "running"
    ended = await caller.until_ended(sent["id"], within=60)
    assert (ended["status"], ended["progress"]["sent"]) == ("completed", MANY)
    agreed(platform, caller)


async def test_an_ended_notification_can_be_neither_cancelled_nor_paused_nor_resumed(platform, caller):
    await caller.register("phone", token=fcm_token("ok", 1))
    sent = await caller.send({"device": "phone"})
    await caller.until_ended(sent["id"], within=10)
    for move in ("cancel", "pause", "resume"):
        with pytest.raises(Answered) as refused:
            await caller.call("POST", f"/v1/notifications/{sent['id']}/{move}")
        assert (refused.value.status, refused.value.problem["code"]) == (409, "wrong_state")
    agreed(platform, caller)


async def test_nothing_leaves_after_the_time_to_live(platform, caller):
    await caller.register("phone", token=fcm_token("throttled", 1, 30))
    sent = await caller.send({"device": "phone"}, ttl=3)
    ended = await caller.until_ended(sent["id"], within=15)
    assert ended["progress"]["expired"] == 1
    (delivery,) = await caller.deliveries(sent["id"])
    assert (delivery["state"], delivery["code"]) == ("expired", "ttl_passed")
    assert len(platform.lab.of(sent["id"])) == 1
    agreed(platform, caller, slack=0.5)


async def test_a_small_message_does_not_wait_for_another_apps_broadcast(platform, caller, other_caller, slow_provider):
    await many_phones(caller)
    await other_caller.register("phone", token=fcm_token("ok", "small"))
    broadcast = await caller.send({"all": True})
    await caller.until(broadcast["id"], lambda reply: reply["progress"]["sent"] > 0, within=30)
    began = time.monotonic()
    small = await other_caller.send({"device": "phone"}, options={"class": "bulk"})
    await other_caller.until_ended(small["id"], within=20)
    took = time.monotonic() - began
    going_on = await caller.read(broadcast["id"])
    assert going_on["status"] not in ENDED, "the broadcast was over, so this shows nothing"
    assert took < 5, f"the small message took {took:.1f} s"
    await caller.until_ended(broadcast["id"], within=60)
    agreed(platform, caller, other_caller)
