"""FCM in the lab, over real TLS and HTTP/2, by a client that shares nothing with it."""

import asyncio
import json
import time

import pytest
from tests.contracts.h2_client import H2Client
from tests.contracts.lab_process import LabProcess
from tests.contracts.lab_senders import access_token, delivery, fcm_body, fcm_headers

from tocsin.lab import make
from tocsin.terms import ids

PATH = "/v1/projects/tocsin-lab/messages:send"
QUICK = {"latency_ms": [0, 2], "fcm_quota_per_minute": 600_000, "access_token_seconds": 3599}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    lab = LabProcess(tmp_path_factory.mktemp("lab")).start()
    yield lab
    assert (lab.stop(), lab.words()) == (0, "")


@pytest.fixture
def lab(running):
    running.ask("/lab/settings", "POST", QUICK)
    yield running
    running.ask("/lab/faults", "DELETE")
    running.ask("/lab/credentials/fcm", "POST", {"action": "restore"})


@pytest.fixture(scope="module")
def bearer(running):
    return access_token(running)


@pytest.fixture
async def client(lab):
    client = await H2Client.connect(lab.port, lab.tls("h2"))
    yield client
    await client.close()


@pytest.fixture
def send(client, bearer):
    async def send(token, delivery_id=None, **parts):
        return await client.request("POST", PATH, fcm_headers(bearer), fcm_body(token, delivery_id, **parts))

    return send


def error(outcome):
    """(status, google.rpc status, FCM's code, ApnsError) of an answer."""
    told = json.loads(outcome.body)["error"]
    assert told["code"] == outcome.status
    details = {entry["@type"].rpartition(".")[2]: entry for entry in told.get("details", [])}
    apns = details.get("ApnsError")
    code = details.get("FcmError", {}).get("errorCode")
    return outcome.status, told["status"], code, apns and (apns["statusCode"], apns["reason"])


async def test_the_server_speaks_h2_and_announces_a_hundred_streams(lab, client):
    settings = await client.settings
    assert settings[3] == 100
    _, writer = await asyncio.open_connection("localhost", lab.port, ssl=lab.tls("h2"))
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    writer.transport.abort()
    await asyncio.sleep(0)


async def test_an_ordinary_message_is_accepted_and_written_down_with_its_delivery(lab, send):
    notification = ids.new()
    sent, token, before = delivery(notification), make("ordinary", 1), lab.lines()
    outcome = await send(token, sent)
    assert outcome.status == 200
    name = json.loads(outcome.body)["name"]
    assert name.startswith("projects/tocsin-lab/messages/")
    (line,) = lab.ledger(before)
    assert (line["token"], line["delivery"], line["status"], line["accepted"]) == (token, sent, 200, True)
    assert line["notification"] == ids.show(ids.NOTIFICATION, notification)
    assert (line["ref"], line["fault"], line["early"], line["provider"]) == (name, None, False, "fcm")
    (kept,) = lab.ask(f"/lab/inbox?delivery={sent}")["data"]
    assert kept["content"]["notification"] == {"title": "Hi"}


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        ("dead", (404, "NOT_FOUND", "UNREGISTERED", None)),
        ("bad", (400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", None)),
        ("mismatch", (403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", None)),
        ("busy", (503, "UNAVAILABLE", "UNAVAILABLE", None)),
        ("third-party", (401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", (403, "InvalidProviderToken"))),
        ("apns-dead", (400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", (410, "Unregistered"))),
        ("revoked", (401, "UNAUTHENTICATED", None, None)),
    ],
)
async def test_a_token_that_always_fails_fails_as_fcm_says(lab, send, scenario, expected):
    before = lab.lines()
    for n in (1, 2):
        assert error(await send(make(scenario, n))) == expected
    assert [(line["fault"], line["accepted"]) for line in lab.ledger(before)] == [(scenario, False)] * 2


async def test_a_throttled_token_is_served_after_retry_after_and_an_early_retry_is_written_down(lab, send):
    token, sent, before = make("throttled", 1, 2), delivery(), lab.lines()
    first = await send(token, sent)
    assert error(first) == (429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", None)
    assert first.headers["retry-after"] == "2"
    assert (await send(token, sent)).status == 429
    await asyncio.sleep(2.05)
    assert (await send(token, sent)).status == 200
    lines = lab.ledger(before)
    told = [(line["status"], line["early"], line["fault"]) for line in lines]
    assert told == [(429, False, "throttled"), (429, True, "throttled"), (200, False, None)]
    assert lines[0]["retry_after"] == 2
    assert lines[1]["retry_after"] in (1, 2)


async def test_a_throttled_token_without_a_time_is_served_after_the_declared_floor(lab, send):
    floors = lab.ask("/lab/accounts/fcm")["lab"]["retry_floors"]
    assert floors == {"throttled": 1.0, "transient": 0.5}
    token = make("throttled-bare", 1)
    first = await send(token)
    assert (first.status, "retry-after" in first.headers) == (429, False)
    await asyncio.sleep(floors["throttled"] + 0.05)
    assert (await send(token)).status == 200


@pytest.mark.parametrize(("scenario", "status", "after"), [("error-once", 500, None), ("busy-once", 503, "1")])
async def test_what_fails_once_is_accepted_the_next_time_for_each_delivery(send, scenario, status, after):
    token = make(scenario, 1)
    for sent in (delivery(), delivery()):
        first = await send(token, sent)
        assert (first.status, first.headers.get("retry-after")) == (status, after)
        assert (await send(token, sent)).status == 200


async def test_a_slow_token_is_accepted_slowly_and_holds_up_nobody(send):
    began = time.monotonic()
    slow = asyncio.create_task(send(make("slow", 1, 1)))
    assert (await send(make("ok", 1))).status == 200
    assert not slow.done()
    assert (await slow).status == 200
    assert time.monotonic() - began >= 1.0


async def test_a_cut_takes_the_message_and_resets_its_stream_alone(lab, client, send):
    token, sent, before = make("cut", 1), delivery(), lab.lines()
    neighbour = asyncio.create_task(send(make("slow", 2, 1)))
    await asyncio.sleep(0.05)
    first = await send(token, sent)
    assert (first.status, first.reset, first.lost) == (None, 2, False)
    assert (await send(token, sent)).status == 200
    assert (await neighbour).status == 200
    told = [(line["status"], line["accepted"]) for line in lab.ledger(before) if line["delivery"] == sent]
    assert told == [("cut", True), (200, True)], "the second copy is told apart from the first"


async def test_a_silent_token_takes_the_message_and_never_answers(lab, client, bearer):
    before = lab.lines()
    pending = client.send("POST", PATH, fcm_headers(bearer), fcm_body(make("silent", 1)))
    assert (await client.request("POST", PATH, fcm_headers(bearer), fcm_body(make("ok", 2)))).status == 200
    await asyncio.sleep(0.2)
    assert not pending.done()
    assert [(line["status"], line["accepted"]) for line in lab.ledger(before)] == [("silent", True), (200, True)]


async def test_an_unknown_field_is_refused_with_its_violation(send):
    outcome = await send(make("ok", 1), titel="x")
    told = json.loads(outcome.body)["error"]
    assert (outcome.status, told["status"]) == (400, "INVALID_ARGUMENT")
    (detail,) = told["details"]
    assert detail["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    assert detail["fieldViolations"][0]["field"] == "message"
    assert 'Unknown name "titel"' in detail["fieldViolations"][0]["description"]


async def test_a_reserved_key_is_refused_by_fcm_itself(send):
    outcome = await send(make("ok", 1), data={"google.x": "1"})
    assert error(outcome) == (400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", None)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff"])
async def test_what_is_no_json_object_is_refused(lab, client, bearer, body):
    outcome = await client.request("POST", PATH, fcm_headers(bearer), body)
    assert (outcome.status, json.loads(outcome.body)["error"]["status"]) == (400, "INVALID_ARGUMENT")


async def test_only_a_valid_message_is_accepted_and_validating_sends_nothing(lab, client, bearer):
    before = lab.lines()
    body = json.dumps({"message": {"token": make("ok", 3)}, "validateOnly": True}).encode()
    outcome = await client.request("POST", PATH, fcm_headers(bearer), body)
    assert json.loads(outcome.body) == {"name": "projects/tocsin-lab/messages/fake_message_id"}
    assert [line["accepted"] for line in lab.ledger(before)] == [False]


async def test_without_a_good_access_token_nothing_is_accepted(lab, client, bearer):
    body = fcm_body(make("ok", 1))
    for fields in ([], fcm_headers("ya29.x"), [("authorization", f"Basic {bearer}")]):
        outcome = await client.request("POST", PATH, fields, body)
        assert error(outcome) == (401, "UNAUTHENTICATED", None, None)
        assert outcome.headers["www-authenticate"].startswith("Bearer")


async def test_another_project_is_denied_and_the_projects_number_is_its_name_too(client, bearer):
    body, fields = fcm_body(make("ok", 1)), fcm_headers(bearer)
    denied = await client.request("POST", "/v1/projects/another/messages:send", fields, body)
    assert error(denied) == (403, "PERMISSION_DENIED", None, None)
    assert (await client.request("POST", "/v1/projects/100000000001/messages:send", fields, body)).status == 200
    assert (await client.request("GET", PATH, fields)).status == 404
    assert (await client.request("POST", "/v1/elsewhere", fields, body)).status == 404


async def test_access_tokens_expire_and_a_revoked_account_gets_no_new_one(lab, client):
    lab.ask("/lab/settings", "POST", {"access_token_seconds": 1})
    short, body = access_token(lab), fcm_body(make("ok", 1))
    assert (await client.request("POST", PATH, fcm_headers(short), body)).status == 200
    await asyncio.sleep(1.05)
    assert (await client.request("POST", PATH, fcm_headers(short), body)).status == 401
    lab.ask("/lab/settings", "POST", QUICK)
    good = access_token(lab)
    lab.ask("/lab/credentials/fcm", "POST", {"action": "revoke"})
    assert (await client.request("POST", PATH, fcm_headers(good), body)).status == 401
    denied = await client.request("POST", "/token", [], b"grant_type=x")
    assert (denied.status, json.loads(denied.body)["error"]) == (400, "unsupported_grant_type")
    lab.ask("/lab/credentials/fcm", "POST", {"action": "restore"})
    assert (await client.request("POST", PATH, fcm_headers(good), body)).status == 200


async def test_a_429_takes_no_quota_and_a_refused_message_does(lab, send):
    used = sum(n for name, n in lab.ask("/lab")["counts"]["endings"].items() if name.startswith("fcm"))
    assert used > 0
    lab.ask("/lab/settings", "POST", {"fcm_quota_per_minute": 1})
    assert (await send(make("ok", 1))).status in (200, 429)
    over = await send(make("dead", 1))
    assert error(over) == (429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", None)
    assert 1 <= int(over.headers["retry-after"]) <= 60


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        ({"kind": "error"}, 500),
        ({"kind": "unavailable", "retry_after": 7}, 503),
        ({"kind": "throttle"}, 429),
        ({"kind": "throttle", "retry_after": 7}, 429),
    ],
)
async def test_a_fault_refuses_as_fcm_would_and_is_counted(lab, send, rule, status):
    before = lab.ask("/lab")
    lab.ask("/lab/faults", "POST", {**rule, "name": "f", "provider": "fcm", "count": 1})
    struck = await send(make("ok", 1))
    assert (struck.status, struck.headers.get("retry-after")) == (status, "7" if "retry_after" in rule else None)
    assert (await send(make("ok", 1))).status == 200
    after = lab.ask("/lab")
    assert after["injected"][rule["kind"]] == before["injected"].get(rule["kind"], 0) + 1
    first, second = lab.ledger(before["ledger"]["lines"])
    assert (first["fault"], first["accepted"], first["status"]) == ("f", False, status)
    assert (second["fault"], second["accepted"], second["early"]) == (None, True, True), (
        "7 s or the floor was asked for"
    )


async def test_a_refused_stream_was_not_processed_and_says_so(lab, send):
    before = lab.lines()
    lab.ask("/lab/faults", "POST", {"kind": "refuse", "name": "r", "count": 1})
    refused = await send(make("ok", 1))
    assert (refused.reset, refused.status) == (7, None)
    assert (await send(make("ok", 1))).status == 200
    assert [(line["status"], line["accepted"]) for line in lab.ledger(before)] == [("refused", False), (200, True)]


async def test_a_goaway_lets_earlier_streams_finish_and_takes_no_later_one(lab, client, bearer):
    before, fields = lab.lines(), fcm_headers(bearer)
    earlier = client.send("POST", PATH, fields, fcm_body(make("slow", 3, 1)))
    await asyncio.sleep(0.1)
    lab.ask("/lab/faults", "POST", {"kind": "goaway", "name": "g", "count": 1})
    away = [client.send("POST", PATH, fields, fcm_body(make("ok", n))) for n in range(3)]
    assert (await asyncio.wait_for(earlier, 5)).status == 200
    for future in away:
        outcome = await asyncio.wait_for(future, 5)
        assert (outcome.status, outcome.lost) == (None, True)
    assert client.goaway == 1
    await asyncio.wait_for(client.closed, 5)
    assert [(line["status"], line["accepted"]) for line in lab.ledger(before)] == [(200, True), ("goaway", False)]


async def test_a_cut_connection_takes_all_that_was_in_flight_on_it(lab, client, bearer):
    before, fields = lab.lines(), fcm_headers(bearer)
    flying = [client.send("POST", PATH, fields, fcm_body(make("slow", n, 5))) for n in range(4)]
    await asyncio.sleep(0.1)
    lab.ask("/lab/faults", "POST", {"kind": "cut_connection", "name": "c", "count": 1})
    flying.append(client.send("POST", PATH, fields, fcm_body(make("ok", 1))))
    outcomes = await asyncio.wait_for(asyncio.gather(*flying), 5)
    assert all(outcome.lost for outcome in outcomes)
    assert [line["accepted"] for line in lab.ledger(before)] == [True] * 5
    assert lab.ask("/lab")["injected"]["cut_connection"] >= 1


async def test_silence_and_latency_by_control(lab, client, send, bearer):
    lab.ask("/lab/faults", "POST", {"kind": "silence", "name": "s", "count": 1})
    pending = client.send("POST", PATH, fcm_headers(bearer), fcm_body(make("ok", 1)))
    lab.ask("/lab/faults?name=s", "DELETE")
    await asyncio.sleep(0.1)
    lab.ask("/lab/faults", "POST", {"kind": "latency", "name": "l", "latency_ms": [300, 310]})
    began = time.monotonic()
    assert (await send(make("ok", 1))).status == 200
    assert time.monotonic() - began >= 0.3
    assert pending.done() is False or (await pending).status == 200


async def test_streams_beyond_the_hundredth_are_refused_and_the_rest_kept(lab, client, bearer):
    before, fields = lab.lines(), fcm_headers(bearer)
    client.ignore_the_limit()
    held = [client.send("POST", PATH, fields, fcm_body(make("silent", n))) for n in range(100)]
    beyond = [client.send("POST", PATH, fields, fcm_body(make("ok", n))) for n in range(20)]
    outcomes = await asyncio.wait_for(asyncio.gather(*beyond), 10)
    assert [outcome.reset for outcome in outcomes] == [7] * 20
    assert not any(future.done() for future in held)
    assert len(lab.ledger(before)) == 100, "a refused stream is no request that arrived"


async def test_an_answer_waits_for_the_clients_window(lab, bearer):
    client = await H2Client.connect(lab.port, lab.tls("h2"), window=10)
    outcome = await client.request("POST", PATH, fcm_headers(bearer), fcm_body(make("third-party", 1)))
    assert error(outcome)[2] == "THIRD_PARTY_AUTH_ERROR"
    await client.close()


async def test_a_body_beyond_all_measure_is_refused_with_413(client, bearer):
    outcome = await client.request("POST", PATH, fcm_headers(bearer), b"x" * 300_000)
    assert outcome.status == 413


async def test_a_request_that_never_became_whole_is_in_no_ledger(lab, client, send, bearer):
    before = lab.lines()
    client.send("POST", PATH, fcm_headers(bearer), fcm_body(make("ok", 1)), end=False)
    client.reset(1)
    assert (await send(make("ok", 2))).status == 200
    assert [line["token"] for line in lab.ledger(before)] == [make("ok", 2)]


async def test_what_is_no_http2_ends_the_connection(lab, client):
    client.raw(b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00")  # WINDOW_UPDATE of 0, RFC 9113 section 6.9
    await asyncio.wait_for(client.closed, 5)
    assert client.goaway is not None


async def test_faults_strike_the_token_endpoint_too(lab, client):
    for rule, status in (({"kind": "unavailable", "retry_after": 3}, 503), ({"kind": "error"}, 500)):
        lab.ask("/lab/faults", "POST", {**rule, "provider": "oauth", "count": 1, "name": "o"})
        struck = await client.request("POST", "/token", [], b"x")
        assert (struck.status, json.loads(struck.body)["error"]) == (status, "server_error")
    lab.ask("/lab/faults", "POST", {"kind": "cut", "provider": "oauth", "count": 1, "name": "o"})
    assert (await client.request("POST", "/token", [], b"x")).reset == 2
    assert (await client.request("POST", "/token", [], b"x")).status == 400
