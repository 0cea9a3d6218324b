"""Every magic token and subscription of the lab ends as its table says, through the whole platform."""

import asyncio

import pytest
from tests.rig.fixtures import agreed
from tests.rig.lab import fcm_token

QUICK = {
    "ok": ("sent", "accepted"),
    "slow": ("sent", "accepted"),
    "dead": ("rejected", "unregistered"),
    "gone": ("rejected", "unregistered"),
    "apns-dead": ("rejected", "unregistered"),
    "mismatch": ("rejected", "sender_mismatch"),
    "too-large": ("rejected", "payload_too_large"),
    "throttled": ("sent", "accepted"),
    "throttled-bare": ("sent", "accepted"),
    "error-once": ("sent", "accepted"),
    "busy-once": ("sent", "accepted"),
    "cut": ("sent", "accepted"),
}
TRIED_AGAIN = {
    "throttled": "throttled",
    "throttled-bare": "throttled",
    "error-once": "transient",
    "busy-once": "transient",
    "cut": "ambiguous",
}
"""The verdict of the attempt that a scenario causes before its end."""
BAD = {"fcm": ("rejected", "invalid_token"), "webpush": ("rejected", "invalid_payload")}
NEVER = {"busy": "transient", "silent": "ambiguous"}
"""Scenarios that never let a message end well: the verdict of their attempts; the time to live ends them."""
REFUSED = {"fcm": ("revoked",), "webpush": ()}
"""Scenarios that blame the app's credential, so that all else of the app waits: each gets an app of its own."""


async def tokens(platform, provider, names):
    if provider == "fcm":
        return {name: fcm_token(name, f"{provider}-{name}") for name in names}
    return {name: (await platform.lab.subscriptions(1, name))[0] for name in names}


async def scenarios(platform, provider):
    table = await platform.lab.call("GET", "/lab/tokens")
    return {row["name"] for row in table[provider]}


async def ends(caller, notification, *, within):
    await caller.until_ended(notification, within=within)
    return {delivery["device"]: delivery for delivery in await caller.deliveries(notification)}


@pytest.mark.parametrize("provider", ["fcm", "webpush"])
async def test_each_scenario_ends_as_its_table_says(platform, caller, provider):
    known = await scenarios(platform, provider)
    quick = {name: end for name, end in {**QUICK, "bad": BAD[provider]}.items() if name in known}
    if provider == "webpush":
        # one subscription's 401 must not stop an app's other messages, so it is that device's alone
        quick["revoked"] = ("rejected", "sender_mismatch")
    else:
        quick["third-party"] = ("rejected", "third_party_auth")
    assert known == {*quick, *NEVER, *REFUSED[provider]}, "a scenario of the lab that nobody tests"

    for name, token in (await tokens(platform, provider, [*quick, *NEVER])).items():
        await caller.register(name, token=token)
    first = await caller.send({"devices": list(quick)}, ttl=120)
    second = await caller.send({"devices": list(NEVER)}, ttl=5)
    got, never = await asyncio.gather(ends(caller, first["id"], within=30), ends(caller, second["id"], within=40))

    assert {name: (end["state"], end["code"]) for name, end in got.items()} == quick
    for name, verdict in TRIED_AGAIN.items():
        story = await caller.story(got[name]["id"])
        assert [attempt["verdict"] for attempt in story["attempt_log"]] == [verdict], name
    assert {(end["state"], end["code"]) for end in never.values()} == {("expired", "ttl_passed")}
    for name, verdict in NEVER.items():
        story = await caller.story(never[name]["id"])
        assert {attempt["verdict"] for attempt in story["attempt_log"]} == {verdict}, name
    agreed(platform, caller)


@pytest.mark.parametrize("scenario", REFUSED["fcm"])
async def test_a_refused_credential_holds_the_apps_messages_until_their_time_is_up(platform, caller, scenario):
    await caller.register("refused", token=fcm_token(scenario, scenario))
    sent = await caller.send({"device": "refused"}, ttl=4)
    got = await ends(caller, sent["id"], within=20)
    assert (got["refused"]["state"], got["refused"]["code"]) == ("expired", "ttl_passed")
    story = await caller.story(got["refused"]["id"])
    assert {attempt["verdict"] for attempt in story["attempt_log"]} == {"credential_fault"}
    agreed(platform, caller)
