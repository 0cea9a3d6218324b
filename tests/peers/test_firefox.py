"""A real Firefox: it subscribes through the page that `tocsin dev` serves, decrypts a push, and signs for it.

The lab's acknowledgements are asserted here and never reach the platform: what it knows of the browser's joy is the
signed receipt alone.
"""

import asyncio
import hashlib
import os
import shutil
from urllib.parse import quote

import pytest
from tests.peers.firefox import Firefox
from tests.rig.caller import Caller
from tests.rig.fixtures import agreed, reachable_dir

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        shutil.which("firefox-esr") is None and os.environ.get("CI") != "true",
        reason="firefox-esr is not installed: `make peers-install` does that",
    ),
]
DELIVERED, NOT_DECRYPTED = 100, 101


@pytest.fixture
def home():
    path = reachable_dir()
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def demo(platform, client_log):
    """The demo app, whose page it is."""
    facts = platform.facts
    app = next(row["id"] for row in platform.tocsin("apps", "list")["data"] if row["name"] == "demo")
    async with Caller(facts["api_url"], facts["api_key"], app, client_log) as caller:
        yield caller


def digest(token):
    return hashlib.sha256((token or "").encode()).hexdigest()


async def wait_for(look, *, within, what):
    """The first truthy thing that `look()` gives."""
    deadline = asyncio.get_running_loop().time() + within
    while True:
        found = await look()
        if found:
            return found
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(f"{what}: not within {within} s")
        await asyncio.sleep(0.1)


async def test_a_real_browser_decrypts_a_push_and_signs_for_it_and_refuses_a_flipped_bit(platform, demo, home):
    lab, facts = platform.lab, platform.facts
    urls = (await lab.call("GET", "/lab"))["urls"]

    async def registered():
        devices = [each async for each in demo.pages("/v1/devices", user_id="firefox", state="active")]
        return next((each for each in devices if each["id"] == "real-browser"), None)

    async def acks():
        return [each for each in (await lab.call("GET", "/lab/acks"))["data"] if each["kind"] == "ack"]

    page = f"{facts['api_url']}/demo/#key={quote(facts['api_key'])}&device=real-browser&user=firefox"
    async with Firefox(home, urls["websocket"], page) as browser:
        try:
            device = await wait_for(registered, within=60, what="the browser's registration")
        except TimeoutError:
            print(browser.log())
            raise
        assert device["provider"] == "webpush"
        demo.adopt("real-browser", {**device, "token": None})
        good = await demo.send(
            {"user": "firefox"}, content={"title": "Tocsin", "body": "für dich ✓", "data": {"n": "1"}}
        )
        (ack,) = await wait_for(acks, within=30, what="the browser's acknowledgement")
        assert ack["code"] == DELIVERED
        ended = await demo.until_ended(good["id"], within=20)
        assert ended["progress"]["sent"] == 1
        (delivery,) = await demo.deliveries(good["id"])
        (endpoint,) = [line["token"] for line in lab.lines() if digest(line["token"]) == device["token_sha256"]]
        demo.adopt("real-browser", {**device, "token": endpoint})

        async def signed():
            story = await demo.story(delivery["id"])
            return story if story["receipts"] else None

        story = await wait_for(signed, within=20, what="the signed receipt")
        assert [receipt["kind"] for receipt in story["receipts"]] == ["delivered"]
        assert story["story"][-1]["event"] == "receipt"

        await lab.call("POST", "/lab/flip", {})
        bad = await demo.send({"user": "firefox"}, content={"title": "Tocsin", "body": "with a flipped bit"})
        await demo.until_ended(bad["id"], within=20)

        async def two():
            known = await acks()
            return known if len(known) > 1 else None

        _, refused = await wait_for(two, within=30, what="the browser's refusal")
        assert refused["code"] == NOT_DECRYPTED
        (delivery,) = await demo.deliveries(bad["id"])
        await asyncio.sleep(2)
        assert (await demo.story(delivery["id"]))["receipts"] == []
    agreed(platform, demo)
