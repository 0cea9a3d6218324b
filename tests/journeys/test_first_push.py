"""The first push: one call in, the lab takes it, the story is told; and who is reached by which target."""

from tests.rig.fixtures import agreed
from tests.rig.lab import fcm_token


async def test_one_call_reaches_the_phone_of_a_user_and_its_story_is_told(platform, caller):
    await caller.register("phone-1", token=fcm_token("ok", 1), user="u1")
    sent = await caller.send({"user": "u1"}, content={"title": "Hi", "body": "there", "data": {"order": "7"}})
    assert sent["status"] == "accepted"
    ended = await caller.until_ended(sent["id"], within=10)
    assert ended["status"] == "completed"
    assert ended["progress"]["targeted"] == ended["progress"]["sent"] == 1

    (delivery,) = await caller.deliveries(sent["id"])
    assert (delivery["device"], delivery["state"], delivery["code"]) == ("phone-1", "sent", "accepted")
    story = await caller.story(delivery["id"])
    assert [event["event"] for event in story["story"]] == ["accepted", "planned", "sent"]
    assert story["provider_ref"] in story["story"][-1]["text"]

    (line,) = platform.lab.of(sent["id"])
    assert (line["delivery"], line["status"], line["accepted"]) == (delivery["id"], 200, True)
    agreed(platform, caller)


async def test_a_browser_whose_keys_the_lab_holds_gets_a_push_it_can_decrypt(platform, caller):
    (subscription,) = await platform.lab.subscriptions(1)
    await caller.register("browser-1", token=subscription, user="u1")
    sent = await caller.send({"device": "browser-1"}, content={"title": "Hi", "body": "there"})
    ended = await caller.until_ended(sent["id"], within=10)
    assert ended["progress"]["sent"] == 1
    (line,) = platform.lab.of(sent["id"])
    (delivery,) = await caller.deliveries(sent["id"])
    # the delivery id is inside the encrypted body: that the lab has it shows that the lab could decrypt
    assert line["delivery"] == delivery["id"]
    assert line["status"] == 201
    agreed(platform, caller)


async def test_a_target_is_the_union_of_its_users_and_devices_each_device_once(platform, caller):
    for name, user in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("c1", "c"), ("d1", None)):
        await caller.register(name, token=fcm_token("ok", name), user=user)
    sent = await caller.send({"users": ["a", "c"], "devices": ["a1", "d1"]})
    await caller.until_ended(sent["id"], within=10)
    reached = {delivery["device"] for delivery in await caller.deliveries(sent["id"])}
    assert reached == {"a1", "a2", "c1", "d1"}

    everybody = await caller.send({"all": True})
    ended = await caller.until_ended(everybody["id"], within=10)
    assert ended["progress"]["sent"] == 5
    agreed(platform, caller)


async def test_an_unknown_user_completes_with_no_target(platform, caller):
    await caller.register("phone-1", token=fcm_token("ok", 1), user="u1")
    sent = await caller.send({"user": "nobody"})
    ended = await caller.until_ended(sent["id"], within=10)
    assert (ended["status"], ended["progress"]["targeted"]) == ("completed", 0)
    agreed(platform, caller)


async def test_apps_do_not_reach_each_others_devices(platform, caller, other_caller):
    await caller.register("mine", token=fcm_token("ok", 1), user="u1")
    await other_caller.register("theirs", token=fcm_token("ok", 2), user="u1")
    sent = await caller.send({"all": True})
    await caller.until_ended(sent["id"], within=10)
    assert [delivery["device"] for delivery in await caller.deliveries(sent["id"])] == ["mine"]
    agreed(platform, caller, other_caller)
