"""Everything that can be wrong with a request, one row each: status, code and place, and that it is a problem."""

import asyncio
import json

import pytest
import pytest_asyncio
from tests.contracts.api import Reply, fresh_database, world

from tocsin.terms import ids

GOOD = {"to": {"device": "phone-1"}, "content": {"title": "Hi"}}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(postgres, tmp_path_factory):
    """One API for all rows: nothing of a refused request remains, which a test of its own shows."""
    async with fresh_database(postgres) as database, world(database, tmp_path_factory.mktemp("api")) as made:
        await made.me.device("phone-1", "u1")
        yield made


def problem(reply: Reply, status: int, code: str, pointer: str | None = None):
    """Check that the reply is a whole problem (RFC 9457) and give its body."""
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"] == "application/problem+json"
    body = reply.json
    assert (body["status"], body["code"], body["pointer"]) == (status, code, pointer)
    assert body["type"] == f"https://tocsin.dev/errors/{code}"
    assert body["request_id"] == reply.headers["Request-Id"]
    assert body["request_id"].startswith("req_")
    assert body["detail"]
    assert body["title"]
    assert body["suggestion"]
    assert isinstance(body["retryable"], bool)
    return body


@pytest.mark.parametrize(
    ("change", "status", "code", "pointer"),
    [
        ({"content": {"titel": "x"}}, 422, "unknown_field", "/content/titel"),
        ({"tittle": "x"}, 422, "unknown_field", "/tittle"),
        ({"to": {"user": 5}}, 422, "invalid_field", "/to/user"),
        ({"ttl": "60"}, 422, "invalid_field", "/ttl"),
        ({"to": {"device": "phone-2"}}, 422, "unknown_device", "/to/device"),
        ({"to": {"devices": ["phone-1", "phone-2"]}}, 422, "unknown_device", "/to/devices/1"),
        ({"content": {"title": "x", "body": "x" * 5000}}, 422, "payload_too_large", "/content"),
        ({"content": {"title": "a\0b"}}, 422, "invalid_field", "/content/title"),
        ({"to": {"user": "a\0b"}}, 422, "invalid_field", "/to/user"),
        ({"content": {"title": "x", "data": {"from": "x"}}}, 422, "invalid_field", "/content/data/from"),
    ],
)
async def test_a_bad_notification_is_refused(api, change, status, code, pointer):
    problem(await api.me.post("/v1/notifications", GOOD | change), status, code, pointer)


async def test_a_missing_field_and_a_misspelt_one_say_what_was_meant(api):
    problem(await api.me.post("/v1/notifications", {"to": {"user": "u"}}), 422, "missing_field", "/content")
    body = problem(
        await api.me.post("/v1/notifications", GOOD | {"colapse_key": "x"}), 422, "unknown_field", "/colapse_key"
    )
    assert body["suggestion"] == "Did you mean 'collapse_key'?"
    body = problem(await api.me.post("/v1/notifications", GOOD | {"title": "x"}), 422, "unknown_field", "/title")
    assert body["suggestion"] == "Did you mean '/content/title'?"


@pytest.mark.parametrize("raw", [b"", b"{", b"nonsense", b"\xff\xfe", b'{"to": \xff}', b"[" * 5000])
async def test_malformed_json_is_refused(api, raw):
    problem(await api.me.post("/v1/notifications", raw=raw), 400, "malformed_json")


async def test_a_body_of_another_shape_is_refused(api):
    for raw in (b"[]", b"null", b'"text"', b"5"):
        problem(await api.me.post("/v1/notifications", raw=raw), 422, "invalid_field", "")


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/plain", "application/json; charset=latin-1", "x"]
)
async def test_a_body_of_another_type_is_refused(api, content_type):
    reply = await api.me.post("/v1/notifications", GOOD, headers={"Content-Type": content_type})
    problem(reply, 415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", [None, "application/json;charset=UTF-8", "Application/JSON"])
async def test_json_by_another_spelling_is_taken(api, content_type):
    reply = await api.me.post("/v1/notifications", GOOD, headers={"Content-Type": content_type})
    assert reply.status == 202


async def test_a_body_over_the_cap_is_refused_whether_its_length_is_told_or_not(api):
    large = json.dumps(GOOD | {"x": "x" * (256 * 1024)}).encode()
    reply = await api.me.post("/v1/notifications", raw=large)
    problem(reply, 413, "too_large")
    assert reply.headers["Connection"] == "close"

    async def pieces():
        for start in range(0, len(large), 8192):
            yield large[start : start + 8192]
            await asyncio.sleep(0)

    problem(await api.me.post("/v1/notifications", raw=pieces()), 413, "too_large")
    exact = json.dumps(GOOD).encode()
    exact += b" " * (256 * 1024 - len(exact))
    assert (await api.me.post("/v1/notifications", raw=exact)).status == 202


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer x", "Basic dXNlcjpwYXNz", "Bearer tk_test_abcdefgh_" + "0" * 38, "Bearer é"],
)
async def test_a_key_that_is_none_is_refused_alike_on_every_path(api, authorization):
    for method, path in (("POST", "/v1/notifications"), ("GET", "/v1/notifications"), ("GET", "/v1/devices/phone-1")):
        reply = await api.me.call(method, path, GOOD, headers={"Authorization": authorization})
        body = problem(reply, 401, "unauthorized")
        assert reply.headers["WWW-Authenticate"] == 'Bearer realm="tocsin"'
        assert "0000" not in json.dumps(body)


async def test_paths_and_methods_that_do_not_exist_are_problems_too(api):
    problem(await api.me.get("/v1/notification"), 404, "not_found")
    problem(await api.me.get("/"), 404, "not_found")
    problem(await api.me.get("/v1/notifications/"), 404, "not_found")
    reply = await api.me.call("PATCH", "/v1/notifications")
    problem(reply, 405, "method_not_allowed")
    assert reply.headers["Allow"]
    for path in ("/docs", "/redoc", "/config"):
        problem(await api.me.get(path), 404, "not_found")


@pytest.mark.parametrize("name", ["nonsense", "ntf_", "ntf_" + "0" * 26, "dev_" + "0" * 26, "ntf_" + "u" * 26])
async def test_what_is_no_id_is_not_found(api, name):
    problem(await api.me.get(f"/v1/notifications/{name}"), 404, "not_found")
    problem(await api.me.get(f"/v1/notifications/{name}/deliveries"), 404, "not_found")
    problem(await api.me.get(f"/v1/deliveries/{name}"), 404, "not_found")
    for verb in ("cancel", "pause", "resume"):
        problem(await api.me.post(f"/v1/notifications/{name}/{verb}"), 404, "not_found")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("limit=0", 422, "invalid_parameter"),
        ("limit=1001", 422, "invalid_parameter"),
        ("limit=ten", 422, "invalid_parameter"),
        ("status=done", 422, "invalid_parameter"),
        ("cursor=nonsense", 400, "malformed_cursor"),
        ("cursor=%ff", 400, "malformed_cursor"),
        ("stauts=running", 422, "unknown_parameter"),
        ("status=running%00", 422, "invalid_parameter"),
    ],
)
async def test_a_bad_parameter_is_refused_by_its_name(api, query, status, code):
    body = problem(await api.me.get(f"/v1/notifications?{query}"), status, code)
    if code == "unknown_parameter":
        assert body["suggestion"] == "Did you mean 'status'?"


async def test_a_parameter_where_there_is_none_is_refused(api):
    found = await api.me.send(device="phone-1")
    body = problem(await api.me.get(f"/v1/notifications/{found}?verbose=1"), 422, "unknown_parameter")
    assert body["suggestion"] == "This path takes no query parameters."


async def test_the_nul_character_in_a_path_is_refused(api):
    problem(await api.me.get("/v1/devices/a%00b"), 422, "invalid_parameter")


@pytest.mark.parametrize("key", ["", "k" * 256, "naïve"])
async def test_an_idempotency_key_that_cannot_be_used_is_refused(api, key):
    problem(await api.me.post("/v1/notifications", GOOD, headers={"Idempotency-Key": key}), 400, "invalid_header")


async def test_device_bodies_are_held_to_the_same_rules(api):
    good = {"provider": "fcm", "token": "a-good-token-of-a-phone"}
    for change, code, pointer in (
        ({"token": "?"}, "invalid_token", "/token"),
        ({"timezone": "Mars/Olympus"}, "unknown_timezone", "/timezone"),
        ({"locale": "xx-nonsense-!"}, "unknown_locale", "/locale"),
        ({"tokn": "x"}, "unknown_field", "/tokn"),
        ({"user_id": 5}, "invalid_field", "/user_id"),
    ):
        problem(await api.me.call("PUT", "/v1/devices/phone-9", good | change), 422, code, pointer)


@pytest.mark.parametrize(
    ("body", "status", "code", "pointer"),
    [
        ({"receipt": "A" * 86, "kind": "opened"}, 401, "invalid_receipt", "/receipt"),
        ({"receipt": "", "kind": "opened"}, 401, "invalid_receipt", "/receipt"),
        ({"receipt": "A" * 129, "kind": "opened"}, 422, "invalid_field", "/receipt"),
        ({"receipt": "A" * 86, "kind": "seen"}, 422, "invalid_field", "/kind"),
        ({"recipt": "A"}, 422, "unknown_field", "/recipt"),
    ],
)
async def test_a_bad_receipt_is_refused(api, body, status, code, pointer):
    reply = await api.me.post("/v1/receipts", body, headers={"Authorization": None})
    problem(reply, status, code, pointer)
    assert reply.headers["Access-Control-Allow-Origin"] == "*", "a page has to be able to read why"


async def test_nothing_of_a_refused_request_remains(api):
    before = (await api.me.get("/v1/notifications")).json["data"]
    for change in ({"to": {"devices": ["phone-1", "phone-2"]}}, {"content": {"title": "x" * 5000}}):
        reply = await api.me.post("/v1/notifications", GOOD | change, headers={"Idempotency-Key": "k"})
        assert reply.status == 422
    assert (await api.me.get("/v1/notifications")).json["data"] == before
    assert (await api.me.post("/v1/notifications", GOOD, headers={"Idempotency-Key": "k"})).status == 202


async def test_every_answer_carries_the_headers_of_the_frame(api):
    for reply in (await api.me.get("/livez"), await api.me.get("/nothing"), await api.me.get("/v1/devices")):
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        assert ids.read(ids.REQUEST, reply.headers["Request-Id"])
