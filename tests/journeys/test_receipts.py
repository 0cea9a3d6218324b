"""Receipts: what the payload carries lets its device, and nobody else, end the story."""

import json
import string

import aiohttp
import pytest
from tests.rig.fixtures import agreed
from tests.rig.lab import fcm_token

LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


async def sent_to(platform, caller, token):
    """Send to one device; gives the delivery and the receipt token of the payload that the provider got."""
    await caller.register("device", token=token)
    sent = await caller.send({"device": "device"})
    await caller.until_ended(sent["id"], within=10)
    (delivery,) = await caller.deliveries(sent["id"])
    (kept,) = (await platform.lab.call("GET", f"/lab/inbox?delivery={delivery['id']}"))["data"]
    content = json.loads(kept["content"]) if isinstance(kept["content"], str) else kept["content"]
    receipt = content["tocsin"]["receipt"] if "tocsin" in content else content["data"]["tocsin_receipt"]
    return delivery, receipt


async def report(caller, receipt, kind):
    """What a device does: no key, only the receipt."""
    body = {"receipt": receipt, "kind": kind}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{caller.api_url}/v1/receipts", json=body) as answer,
    ):
        return answer.status


@pytest.mark.parametrize("provider", ["fcm", "webpush"])
async def test_a_signed_receipt_ends_the_story(platform, caller, provider):
    token = fcm_token("ok", "receipt") if provider == "fcm" else (await platform.lab.subscriptions(1))[0]
    delivery, receipt = await sent_to(platform, caller, token)
    for kind in ("delivered", "opened", "delivered"):
        assert await report(caller, receipt, kind) == 204
    story = await caller.story(delivery["id"])
    assert [each["kind"] for each in story["receipts"]] == ["delivered", "opened"]
    assert [event["event"] for event in story["story"]][-2:] == ["receipt", "receipt"]
    assert story["state"] == "sent", "a receipt is a fact, not a state"
    agreed(platform, caller)


async def test_a_receipt_with_one_letter_changed_is_refused_and_changes_nothing(platform, caller):
    delivery, receipt = await sent_to(platform, caller, fcm_token("ok", "forged"))
    for place in (0, 30, 70, len(receipt) - 1):
        other = LETTERS[LETTERS.index(receipt[place]) ^ 32]
        assert await report(caller, receipt[:place] + other + receipt[place + 1 :], "delivered") == 401, place
    assert (await caller.story(delivery["id"]))["receipts"] == []
