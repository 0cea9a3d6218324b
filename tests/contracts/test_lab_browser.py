"""The WebSocket side that a browser speaks: subscriptions, messages that wait, acknowledgements."""

import asyncio
import base64
import json
import uuid

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.contracts.h2_client import H2Client
from tests.contracts.lab_process import LabProcess
from tests.contracts.lab_senders import path_of, push_headers, raw_point, vapid

KEY = ec.generate_private_key(ec.SECP256R1())
PADDED = base64.urlsafe_b64encode(raw_point(KEY)).decode()
BODY = bytes(range(120))


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    lab = LabProcess(tmp_path_factory.mktemp("lab")).start()
    lab.ask("/lab/settings", "POST", {"latency_ms": [0, 2]})
    yield lab
    assert (lab.stop(), lab.words()) == (0, "")


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


class Browser:
    """What Firefox does on its socket, by hand."""

    def __init__(self, socket, hello):
        self.socket, self.uaid, self.greeting = socket, hello["uaid"], hello

    async def ask(self, **frame):
        await self.socket.send_json(frame)
        return await self.socket.receive_json(timeout=5)

    async def register(self, channel=None, key=PADDED):
        channel = channel or str(uuid.uuid4())
        return await self.ask(messageType="register", channelID=channel, key=key)


@pytest.fixture
def browser(http, running):
    return lambda uaid=None: connect(http, running, uaid)


async def connect(http, lab, uaid=None):
    url = lab.control.replace("http", "ws") + "/ws"
    socket = await http.ws_connect(url, protocols=["push-notification"])
    assert socket.protocol == "push-notification"
    hello = {"messageType": "hello", "broadcasts": {}, "use_webpush": True}
    await socket.send_json(hello if uaid is None else {**hello, "uaid": uaid})
    return Browser(socket, await socket.receive_json(timeout=5))


@pytest.fixture
async def client(running):
    client = await H2Client.connect(running.port, running.tls("h2"))
    yield client
    await client.close()


@pytest.fixture
def push(running, client):
    async def push(endpoint, body=BODY, ttl="60", more=(), key=KEY):
        fields = push_headers(vapid(key, running.origin) if key else None, ttl)
        return await client.request("POST", path_of(endpoint), [*fields, *more], body)

    return push


def sent_data(frame):
    return base64.urlsafe_b64decode(frame["data"] + "=" * (-len(frame["data"]) % 4))


async def test_a_browser_says_hello_subscribes_receives_and_acknowledges(running, browser, push):
    one = await browser()
    assert (one.greeting["status"], one.greeting["use_webpush"], len(one.uaid)) == (200, True, 32)
    made = await one.register()
    assert made["status"] == 200
    assert made["pushEndpoint"].startswith(f"{running.origin}/wpush/v2/")
    assert (await one.register(made["channelID"]))["pushEndpoint"] == made["pushEndpoint"], "asked again, the same one"

    before = running.lines()
    outcome = await push(made["pushEndpoint"])
    frame = await one.socket.receive_json(timeout=5)
    assert outcome.status == 201
    assert (frame["messageType"], frame["channelID"], frame["ttl"]) == ("notification", made["channelID"], 60)
    assert frame["headers"] == {"encoding": "aes128gcm"}
    assert sent_data(frame) == BODY
    (line,) = running.ledger(before)
    assert (line["token"], line["delivery"], line["ref"]) == (made["pushEndpoint"], None, frame["version"])

    updates = [{"channelID": made["channelID"], "version": frame["version"], "code": 100}]
    await one.socket.send_json({"messageType": "ack", "updates": updates})
    await one.socket.send_json({"messageType": "nack", "version": frame["version"], "code": 302})
    assert await one.ask() == {}
    ack, nack = running.ask("/lab/acks")["data"][-2:]
    assert (ack["kind"], ack["uaid"], ack["channel"], ack["version"], ack["code"]) == (
        "ack", one.uaid, made["channelID"], frame["version"], 100,
    )  # fmt: skip
    assert (nack["kind"], nack["code"]) == ("nack", 302)
    assert running.ask(f"/lab/acks?after={ack['n']}")["data"] == [nack]


async def test_what_was_not_acknowledged_waits_and_comes_again(running, browser, push):
    one = await browser()
    made = await one.register()
    await one.socket.close()
    for n in range(3):
        assert (await push(made["pushEndpoint"], bytes([n]) * 100)).status == 201
    assert (await push(made["pushEndpoint"], ttl="0")).status == 201, "for now or never"
    again = await browser(one.uaid)
    assert again.uaid == one.uaid
    frames = [await again.socket.receive_json(timeout=5) for _ in range(3)]
    assert [sent_data(frame)[0] for frame in frames] == [0, 1, 2]
    updates = [{"channelID": frame["channelID"], "version": frame["version"], "code": 100} for frame in frames[:2]]
    await again.socket.send_json({"messageType": "ack", "updates": updates})
    third = await browser(one.uaid)
    assert (await third.socket.receive_json(timeout=5))["version"] == frames[2]["version"]
    assert (await again.socket.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE, "one socket a browser"
    assert await third.ask() == {}


async def test_a_message_whose_time_is_over_does_not_wait(browser, push):
    one = await browser()
    made = await one.register()
    await one.socket.close()
    assert (await push(made["pushEndpoint"], ttl="1")).status == 201
    await asyncio.sleep(1.1)
    again = await browser(one.uaid)
    assert await again.ask() == {}


async def test_a_topic_replaces_what_waits_and_a_message_can_be_cancelled(browser, push, client):
    one = await browser()
    made = await one.register()
    await one.socket.close()
    more = [("topic", "scores")]
    first = await push(made["pushEndpoint"], b"a" * 100, more=more)
    second = await push(made["pushEndpoint"], b"b" * 100, more=more)
    other = await push(made["pushEndpoint"], b"c" * 100)
    for outcome, status in ((first, 404), (other, 204), (other, 404)):
        assert (await client.request("DELETE", path_of(outcome.headers["location"]), [])).status == status
    again = await browser(one.uaid)
    frame = await again.socket.receive_json(timeout=5)
    assert second.headers["location"].endswith(frame["version"])
    assert sent_data(frame) == b"b" * 100
    assert await again.ask() == {}


async def test_one_bit_of_the_next_message_is_flipped_on_demand(running, browser, push):
    one = await browser()
    made = await one.register()
    running.ask("/lab/flip", "POST", {"channel": made["channelID"]})
    received = []
    for _ in range(2):
        await push(made["pushEndpoint"])
        received.append(sent_data(await one.socket.receive_json(timeout=5)))
    flipped = int.from_bytes(received[0], "big") ^ int.from_bytes(BODY, "big")
    assert flipped.bit_count() == 1
    assert received[1] == BODY
    running.ask("/lab/flip", "POST", {})
    await push(made["pushEndpoint"], b"")
    assert "data" not in await one.socket.receive_json(timeout=5), "nothing to flip in an empty message"
    await push(made["pushEndpoint"])
    assert sent_data(await one.socket.receive_json(timeout=5)) != BODY


async def test_only_the_key_it_subscribed_with_reaches_a_browser(browser, push):
    one = await browser()
    bound, free = await one.register(), await one.register(key=None)
    stranger = ec.generate_private_key(ec.SECP256R1())
    assert (await push(bound["pushEndpoint"], key=stranger)).status == 401
    assert (await push(bound["pushEndpoint"], key=None)).status == 401
    assert (await push(free["pushEndpoint"], key=None)).status == 201
    taken = await one.register(bound["channelID"], key=None)
    while taken["messageType"] == "notification":
        taken = await one.socket.receive_json(timeout=5)
    assert taken["status"] == 409


async def test_an_ended_subscription_is_gone(browser, push):
    one = await browser()
    made = await one.register()
    ended = await one.ask(messageType="unregister", channelID=made["channelID"], code=200)
    assert (ended["messageType"], ended["status"]) == ("unregister", 200)
    outcome = await push(made["pushEndpoint"])
    assert (outcome.status, json.loads(outcome.body)["errno"]) == (410, 106)
    assert (await one.register(made["channelID"]))["pushEndpoint"] != made["pushEndpoint"]


async def test_frames_that_are_none_are_refused(browser):
    one = await browser("0" * 32)
    assert one.uaid != "0" * 32, "a browser that we do not know gets an id of its own"
    assert (await one.ask(messageType="register", channelID="not-a-channel"))["status"] == 401
    assert await one.ask(messageType="ping") == {}
    await one.socket.send_json({"messageType": "broadcast_subscribe", "broadcasts": {}})
    await one.socket.send_json({"messageType": "ack", "updates": [1, {"version": 5}]})
    await one.socket.ping()
    assert await one.ask() == {}
    for frame in ("{", "[]", '{"messageType":"shout"}', "x" * 70_000):
        other = await browser()
        await other.socket.send_str(frame)
        assert (await other.socket.receive(timeout=5)).data == 1008
    binary = await browser()
    await binary.socket.send_bytes(b"x")
    assert (await binary.socket.receive(timeout=5)).data == 1008


async def test_hello_comes_first_and_only_at_the_published_path(http, running):
    url = running.control.replace("http", "ws")
    socket = await http.ws_connect(url + "/ws")
    await socket.send_json({"messageType": "register", "channelID": str(uuid.uuid4())})
    assert (await socket.receive(timeout=5)).data == 1008
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect(url + "/elsewhere")
    assert refused.value.status == 404


async def test_a_browsers_subscription_and_its_messages_outlive_the_lab(tmp_path, http):
    lab = LabProcess(tmp_path).start()
    lab.ask("/lab/settings", "POST", {"latency_ms": [0, 0]})
    one = await connect(http, lab)
    made = await one.register()
    await one.socket.close()
    client = await H2Client.connect(lab.port, lab.tls("h2"))
    fields = push_headers(vapid(KEY, lab.origin))
    assert (await client.request("POST", path_of(made["pushEndpoint"]), fields, BODY)).status == 201
    await client.close()
    lab.kill()
    lab.start()
    again = await connect(http, lab, one.uaid)
    assert again.uaid == one.uaid
    assert sent_data(await again.socket.receive_json(timeout=5)) == BODY
    assert lab.ask("/lab")["browsers"] == {"browsers": 1, "channels": 1, "waiting": 1, "connected": 1}
    assert (lab.stop(), lab.words()) == (0, "")
