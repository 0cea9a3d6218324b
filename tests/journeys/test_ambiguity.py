"""What the contract says of a lost answer: a second copy only after an attempt recorded as ambiguous, or none."""

from tests.rig.fixtures import agreed
from tests.rig.lab import fcm_token


async def test_resend_makes_a_second_copy_and_says_so(platform, caller):
    await caller.register("phone", token=fcm_token("cut", 1))
    sent = await caller.send({"device": "phone"}, options={"on_ambiguity": "resend"})
    ended = await caller.until_ended(sent["id"], within=15)
    assert ended["progress"]["sent"] == 1
    assert [(line["status"], line["accepted"]) for line in platform.lab.of(sent["id"])] == [("cut", True), (200, True)]
    (delivery,) = await caller.deliveries(sent["id"])
    story = await caller.story(delivery["id"])
    assert [attempt["code"] for attempt in story["attempt_log"]] == ["cut_off"]
    assert any("second copy is possible" in event["text"] for event in story["story"])
    figures = agreed(platform, caller).figures
    assert (figures["copies"], figures["ambiguous"]) == (1, 1)


async def test_drop_never_makes_a_second_copy(platform, caller):
    await caller.register("phone", token=fcm_token("cut", 2))
    sent = await caller.send({"device": "phone"}, options={"on_ambiguity": "drop"})
    ended = await caller.until_ended(sent["id"], within=15)
    assert ended["progress"]["failed"] == 1
    (delivery,) = await caller.deliveries(sent["id"])
    assert (delivery["state"], delivery["code"]) == ("failed", "unknown_outcome")
    assert len(platform.lab.of(sent["id"])) == 1
    figures = agreed(platform, caller).figures
    assert (figures["copies"], figures["ambiguous"]) == (0, 1)


async def test_a_stream_the_provider_refused_is_sent_again_without_doubt(platform, caller):
    await platform.lab.inject(kind="refuse", name="refuse", provider="fcm", count=3)
    try:
        for n in range(5):
            await caller.register(f"phone-{n}", token=fcm_token("ok", f"refused-{n}"))
        sent = await caller.send({"all": True})
        ended = await caller.until_ended(sent["id"], within=15)
    finally:
        await platform.lab.heal()
    assert ended["progress"]["sent"] == 5
    refused = [line for line in platform.lab.of(sent["id"]) if line["status"] == "refused"]
    assert len(refused) == 3, "nothing was injected"
    figures = agreed(platform, caller).figures
    assert (figures["copies"], figures["ambiguous"]) == (0, 0)


async def test_a_connection_that_goes_away_doubles_nothing(platform, caller):
    await platform.lab.inject(kind="goaway", name="goaway", provider="fcm", count=2)
    try:
        for n in range(40):
            await caller.register(f"phone-{n}", token=fcm_token("ok", f"goaway-{n}"))
        sent = await caller.send({"all": True})
        ended = await caller.until_ended(sent["id"], within=15)
    finally:
        await platform.lab.heal()
    assert ended["progress"]["sent"] == 40
    figures = agreed(platform, caller).figures
    assert (figures["copies"], figures["ambiguous"]) == (0, 0)
