"""Web Push in the lab: RFC 8030, 8188, 8291 and 8292 over real TLS, by a client that shares nothing with it."""

import asyncio
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.contracts.h2_client import H2Client
from tests.contracts.lab_process import LabProcess
from tests.contracts.lab_senders import (
    b64url,
    delivery,
    path_of,
    push_headers,
    raw_point,
    sealed,
    vapid,
    vapid_key,
)

STRANGER = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    lab = LabProcess(tmp_path_factory.mktemp("lab")).start()
    lab.ask("/lab/settings", "POST", {"latency_ms": [0, 2]})
    yield lab
    assert (lab.stop(), lab.words()) == (0, "")


@pytest.fixture
def lab(running):
    yield running
    running.ask("/lab/faults", "DELETE")
    running.ask("/lab/credentials/webpush", "POST", {"action": "restore"})


@pytest.fixture(scope="module")
def key(running):
    return vapid_key(running.ask("/lab/accounts/webpush"))


@pytest.fixture
async def client(lab):
    client = await H2Client.connect(lab.port, lab.tls("h2"))
    yield client
    await client.close()


def subscription(lab, **asked):
    (made,) = lab.ask("/lab/subscriptions", "POST", asked)["subscriptions"]
    return made


@pytest.fixture
def push(lab, client, key):
    async def push(to, plain=b"x", *, headers=None, more=(), body=None):
        fields = push_headers(vapid(key, lab.origin)) if headers is None else headers
        octets = sealed(to, plain) if body is None else body
        return await client.request("POST", path_of(to["endpoint"]), [*fields, *more], octets)

    return push


async def test_a_message_is_accepted_decrypted_and_written_down_with_its_delivery(lab, push):
    to, sent, before = subscription(lab), delivery(), lab.lines()
    assert to["endpoint"].startswith(f"{lab.origin}/wpush/v2/")
    plain = json.dumps({"title": "Hi", "tocsin": {"delivery": sent}}).encode()
    outcome = await push(to, plain)
    assert (outcome.status, outcome.headers["ttl"]) == (201, "60")
    assert outcome.headers["location"].startswith(f"{lab.origin}/m/")
    (line,) = lab.ledger(before)
    assert (line["token"], line["delivery"], line["code"], line["accepted"]) == (to["endpoint"], sent, None, True)
    assert outcome.headers["location"].endswith(line["ref"])
    (kept,) = lab.ask(f"/lab/inbox?delivery={sent}")["data"]
    assert kept["content"] == plain.decode()


async def test_a_message_for_another_subscription_is_taken_and_told_undecryptable(lab, push):
    to, other, before = subscription(lab), subscription(lab), lab.lines()
    assert (await push(to, body=sealed(other, b"x"))).status == 201
    (line,) = lab.ledger(before)
    assert (line["code"], line["delivery"], line["accepted"]) == ("undecryptable", None, True)


async def test_a_message_without_a_body_or_without_a_delivery_is_taken(lab, push):
    to, before = subscription(lab), lab.lines()
    assert (await push(to, body=b"")).status == 201
    assert (await push(to, b"[1]")).status == 201
    assert [(line["code"], line["delivery"]) for line in lab.ledger(before)] == [(None, None)] * 2


@pytest.mark.parametrize(
    ("more", "without", "errno"),
    [
        ([], "ttl", 111),
        ([("ttl", "60")], "", 112),
        ([("ttl", "soon")], "ttl", 112),
        ([("ttl", "-1")], "ttl", 112),
        ([("urgency", "low"), ("urgency", "high")], "", 111),
        ([("urgency", "urgent")], "", 111),
        ([("topic", "x" * 33)], "", 113),
        ([("topic", "a b")], "", 113),
        ([("topic", "")], "", 113),
        ([], "content-encoding", 110),
        ([("content-encoding", "aes128gcm")], "", 110),
    ],
)
async def test_headers_that_break_rfc_8030_are_refused(lab, push, key, more, without, errno):
    fields = [field for field in push_headers(vapid(key, lab.origin)) if field[0] != without]
    outcome = await push(subscription(lab), headers=fields, more=more)
    told = json.loads(outcome.body)
    assert (outcome.status, told["code"], told["errno"]) == (400, 400, errno)
    assert set(told) >= {"code", "errno", "error", "message"}


@pytest.mark.parametrize(
    ("asked", "flavour", "got"),
    [("0", "mozilla", "0"), ("2592001", "mozilla", "2592000"), ("9" * 20, "fcm", "2419200"), ("60", "apple", "60")],
)
async def test_a_time_to_live_is_clipped_and_the_real_one_told(lab, push, key, asked, flavour, got):
    outcome = await push(subscription(lab, flavour=flavour), headers=push_headers(vapid(key, lab.origin), asked))
    assert (outcome.status, outcome.headers["ttl"]) == (201, got)
    assert ("apns-id" in outcome.headers) == (flavour == "apple")


async def test_4096_octets_are_taken_and_4097_are_not(lab, push):
    to = subscription(lab)
    exact = sealed(to, b"x" * 3993)
    assert len(exact) == 4096
    assert (await push(to, body=exact)).status == 201
    over = await push(to, body=exact + b"x")
    assert (over.status, json.loads(over.body)["errno"]) == (413, 104)


@pytest.mark.parametrize("length", [5, 9, 13])
async def test_apple_takes_no_topic_that_is_no_base64url(lab, push, length):
    more = [("topic", "t" * length)]
    assert (await push(subscription(lab), more=more)).status == 201
    refused = await push(subscription(lab, flavour="apple"), more=more)
    assert (refused.status, json.loads(refused.body)) == (400, {"reason": "BadWebPushTopic"})


@pytest.mark.parametrize(
    ("flavour", "status", "said"), [("mozilla", 401, '"errno":109'), ("fcm", 403, "aud"), ("apple", 403, "BadJwtToken")]
)
async def test_an_identification_that_is_not_good_is_refused_as_each_service_does(
    lab, push, key, flavour, status, said
):
    to = subscription(lab, flavour=flavour)
    for field in (vapid(key, "https://elsewhere.example"), None):
        outcome = await push(to, headers=push_headers(field))
        assert outcome.status == status
    outcome = await push(to, headers=push_headers(vapid(key, "https://elsewhere.example")))
    assert said in outcome.body.decode()
    assert (await push(to)).status == 201


@pytest.mark.parametrize(
    ("flavour", "status", "said"),
    [("mozilla", 401, '"errno":109'), ("fcm", 403, "do not correspond"), ("apple", 403, "VapidPkHashMismatch")],
)
async def test_another_senders_key_does_not_open_a_subscription(lab, push, key, flavour, status, said):
    theirs = subscription(lab, flavour=flavour, vapid_public_key=b64url(raw_point(STRANGER)))
    refused = await push(theirs)
    assert refused.status == status
    assert said in refused.body.decode()
    assert (await push(theirs, headers=push_headers(vapid(STRANGER, lab.origin)))).status == 201


async def test_a_message_encrypted_with_the_vapid_key_is_refused(lab, push, key):
    to = subscription(lab)
    assert (await push(to, body=sealed(to, b"x", key))).status == 400


async def test_a_revoked_key_is_a_strangers_until_it_is_restored(lab, push):
    to = subscription(lab)
    lab.ask("/lab/credentials/webpush", "POST", {"action": "revoke"})
    assert (await push(to)).status == 401
    lab.ask("/lab/credentials/webpush", "POST", {"action": "restore"})
    assert (await push(to)).status == 201


@pytest.mark.parametrize(
    ("kind", "mozilla", "apple"),
    [
        ("dead", (410, 106), (410, "Unregistered")),
        ("gone", (404, 102), (404, "BadPath")),
        ("bad", (400, 108), (400, "BadWebPushRequest")),
        ("mismatch", (401, 109), (403, "VapidPkHashMismatch")),
        ("revoked", (401, 109), (403, "BadJwtToken")),
        ("too-large", (413, 104), (413, "PayloadTooLarge")),
        ("busy", (503, 201), (503, "ServiceUnavailable")),
    ],
)
async def test_a_magic_subscription_fails_as_its_service_says(lab, push, kind, mozilla, apple):
    before = lab.lines()
    first = await push(subscription(lab, kind=kind))
    assert (first.status, json.loads(first.body)["errno"]) == mozilla
    second = await push(subscription(lab, kind=kind, flavour="apple"))
    assert (second.status, json.loads(second.body)["reason"]) == apple
    told = [(line["fault"], line["accepted"], line["code"]) for line in lab.ledger(before)]
    assert told == [(kind, False, str(mozilla[1])), (kind, False, apple[1])]


async def test_throttling_and_trouble_pass(lab, push):
    for kind, seconds, status, after in (
        ("throttled", 1, 429, "1"),
        ("busy-once", None, 503, "1"),
        ("error-once", None, 500, None),
    ):
        asked = {"kind": kind} if seconds is None else {"kind": kind, "seconds": seconds}
        to = subscription(lab, **asked)
        first = await push(to)
        assert (first.status, first.headers.get("retry-after")) == (status, after)
        if kind == "throttled":
            await asyncio.sleep(1.05)
        assert (await push(to)).status == 201


async def test_a_cut_and_a_silence_take_the_message(lab, push, client, key):
    before = lab.lines()
    cut = subscription(lab, kind="cut")
    assert (await push(cut)).reset == 2
    assert (await push(cut)).status == 201
    silent = subscription(lab, kind="silent")
    fields = push_headers(vapid(key, lab.origin))
    pending = client.send("POST", path_of(silent["endpoint"]), fields, sealed(silent, b"x"))
    await asyncio.sleep(0.2)
    assert not pending.done()
    assert [(line["status"], line["accepted"]) for line in lab.ledger(before)] == [
        ("cut", True),
        (201, True),
        ("silent", True),
    ]


@pytest.mark.parametrize("kind", ["unavailable", "throttle", "error"])
async def test_faults_speak_the_services_words(lab, push, kind):
    lab.ask("/lab/faults", "POST", {"kind": kind, "name": "f", "provider": "webpush", "count": 1, "retry_after": 9})
    struck = await push(subscription(lab))
    assert json.loads(struck.body)["errno"] == {"unavailable": 201, "throttle": 202, "error": 999}[kind]


async def test_an_endpoint_that_nobody_made_is_unknown(lab, client, push, key):
    fields = push_headers(vapid(key, lab.origin))
    real = path_of(subscription(lab)["endpoint"])
    for path in ("/wpush/v2/", "/wpush/v2/x", "/wpush/v2/a.b.c.d.e", real + "x", real.replace("sub.", "lab-dead.")):
        outcome = await client.request("POST", path, fields, b"")
        assert (outcome.status, json.loads(outcome.body)["errno"]) == (404, 102)
    assert (await client.request("GET", real, [])).status == 404
    assert (await client.request("DELETE", "/m/0123", [])).status == 404


def test_many_subscriptions_are_made_at_once_and_none_is_like_another(lab):
    made = lab.ask("/lab/subscriptions", "POST", {"count": 500, "kind": "ok"})["subscriptions"]
    assert len({one["endpoint"] for one in made}) == len({one["keys"]["p256dh"] for one in made}) == 500


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"count": 0}, "count: expected a whole number from 1"),
        ({"kind": "third-party"}, "kind: Web Push has no scenario 'third-party'"),
        ({"kind": "explode"}, "kind: expected one of ordinary, ok"),
        ({"flavour": "opera"}, "flavour: expected one of mozilla"),
        ({"vapid_public_key": "AAAA"}, "vapid_public_key: expected an uncompressed P-256 point"),
        ({"kind": "ok", "seconds": 3}, "takes no seconds"),
        ({"amount": 1}, "amount: no such member"),
    ],
)
def test_a_subscription_that_cannot_be_is_refused_in_words(lab, asked, words):
    status, said = lab.refusal("/lab/subscriptions", "POST", asked)
    assert status == 400
    assert words in said
