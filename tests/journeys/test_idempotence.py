"""One idempotency key, one notification: however often and however concurrently it is asked for."""

import asyncio
import uuid

import pytest
from tests.rig.caller import Answered
from tests.rig.fixtures import agreed
from tests.rig.lab import fcm_token


async def test_twenty_concurrent_requests_with_one_key_are_one_notification(platform, caller):
    await caller.register("phone", token=fcm_token("ok", 1))
    key = uuid.uuid4().hex
    replies = await asyncio.gather(*(caller.send({"device": "phone"}, key=key) for _ in range(20)))
    assert len({reply["id"] for reply in replies}) == 1
    assert all(reply == replies[0] for reply in replies)
    await caller.until_ended(replies[0]["id"], within=10)
    assert len(platform.lab.of(replies[0]["id"])) == 1
    agreed(platform, caller)


async def test_the_same_key_with_another_body_is_refused(platform, caller):
    await caller.register("phone", token=fcm_token("ok", 1))
    key = uuid.uuid4().hex
    sent = await caller.send({"device": "phone"}, key=key)
    with pytest.raises(Answered) as refused:
        await caller.send({"device": "phone"}, key=key, content={"title": "Another"})
    assert (refused.value.status, refused.value.problem["code"]) == (422, "idempotency_mismatch")
    await caller.until_ended(sent["id"], within=10)
    agreed(platform, caller)


async def test_one_key_in_two_apps_is_two_notifications(platform, caller, other_caller):
    await caller.register("phone", token=fcm_token("ok", 1))
    await other_caller.register("phone", token=fcm_token("ok", 2))
    key = uuid.uuid4().hex
    mine, theirs = (
        await caller.send({"device": "phone"}, key=key),
        await other_caller.send({"device": "phone"}, key=key),
    )
    assert mine["id"] != theirs["id"]
    await caller.until_ended(mine["id"], within=10)
    await other_caller.until_ended(theirs["id"], within=10)
    agreed(platform, caller, other_caller)
