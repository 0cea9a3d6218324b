"""Devices that die, come back, move to another user or log out while messages are on their way."""

import asyncio

from tests.rig.fixtures import agreed
from tests.rig.lab import fcm_token


async def state_of(caller, device):
    return (await caller.call("GET", f"/v1/devices/{device}"))["state"]


async def until_state(caller, device, state):
    for _ in range(100):
        if await state_of(caller, device) == state:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{device} is {await state_of(caller, device)}, not {state}")


async def test_a_dead_token_retires_its_device_and_a_registration_brings_it_back(platform, caller):
    await caller.register("phone", token=fcm_token("dead", 1), user="u1")
    first = await caller.send({"user": "u1"})
    ended = await caller.until_ended(first["id"], within=10)
    assert ended["progress"]["rejected"] == 1
    await until_state(caller, "phone", "dead")

    second = await caller.send({"user": "u1"})
    ended = await caller.until_ended(second["id"], within=10)
    assert ended["progress"]["targeted"] == 0
    assert platform.lab.of(second["id"]) == []

    await caller.register("phone", token=fcm_token("ok", 2), user="u1")
    third = await caller.send({"user": "u1"})
    ended = await caller.until_ended(third["id"], within=10)
    assert ended["progress"]["sent"] == 1
    assert await state_of(caller, "phone") == "active"
    agreed(platform, caller)


async def test_a_device_registered_anew_survives_the_death_of_its_old_token(platform, caller):
    await platform.lab.inject(kind="latency", name="late", provider="fcm", latency_ms=[3000, 3000])
    try:
        await caller.register("phone", token=fcm_token("dead", 3), user="u1")
        sent = await caller.send({"user": "u1"})
        for _ in range(100):
            if platform.lab.of(sent["id"]):
                break
            await asyncio.sleep(0.05)
        # the provider has judged the old token, and its answer is still on its way
        await caller.register("phone", token=fcm_token("ok", 3), user="u1")
        ended = await caller.until_ended(sent["id"], within=15)
        assert ended["progress"]["rejected"] == 1, ended["progress"]
    finally:
        await platform.lab.heal()
    await asyncio.sleep(1.5)
    assert await state_of(caller, "phone") == "active"
    agreed(platform, caller)


async def test_a_device_that_has_a_new_user_does_not_get_the_old_users_message(platform, caller):
    await caller.register("phone", token=fcm_token("throttled", 4, 4), user="old")
    sent = await caller.send({"user": "old"})
    await caller.until(sent["id"], lambda reply: bool(platform.lab.of(sent["id"])), within=10)
    await caller.register("phone", token=fcm_token("throttled", 4, 4), user="new")
    ended = await caller.until_ended(sent["id"], within=20)
    assert ended["progress"]["suppressed"] == 1
    (delivery,) = await caller.deliveries(sent["id"])
    assert (delivery["state"], delivery["code"]) == ("suppressed", "moved")
    assert [line["status"] for line in platform.lab.of(sent["id"])] == [429]
    agreed(platform, caller)


async def test_a_token_registered_by_another_device_moves_there_at_once(platform, caller):
    token = fcm_token("ok", 5)
    await caller.register("old-phone", token=token, user="u1")
    await caller.register("new-phone", token=token, user="u2")
    assert await state_of(caller, "old-phone") == "superseded"
    sent = await caller.send({"users": ["u1", "u2"]})
    await caller.until_ended(sent["id"], within=10)
    assert [delivery["device"] for delivery in await caller.deliveries(sent["id"])] == ["new-phone"]
    assert len(platform.lab.of(sent["id"])) == 1
    agreed(platform, caller)


async def test_a_device_that_was_deleted_or_logged_out_is_no_target(platform, caller):
    for name in ("stays", "goes", "leaves"):
        await caller.register(name, token=fcm_token("ok", f"{caller.app_id}-{name}"), user="u1")
    await caller.logout("goes")
    await caller.delete("leaves")
    sent = await caller.send({"all": True})
    await caller.until_ended(sent["id"], within=10)
    assert [delivery["device"] for delivery in await caller.deliveries(sent["id"])] == ["stays"]
    agreed(platform, caller)
