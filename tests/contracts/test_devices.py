"""The door of devices, over HTTP and against PostgreSQL."""

import asyncio
import hashlib
from typing import Any

import aiohttp
import pytest
from tests.contracts.devices_api import key, serving

from tocsin import audience
from tocsin.terms import ids
from tocsin.terms.handoffs import Learned, ReturnsHint

PHONE = {"provider": "fcm", "token": "token-of-phone-1"}
BROWSER: dict[str, Any] = {
    "provider": "webpush",
    "subscription": {
        "endpoint": "https://push.example/endpoint-1",
        "expirationTime": None,
        "keys": {"p256dh": "BPub", "auth": "secret"},
    },
}
NDJSON = {"Content-Type": "application/x-ndjson"}
ME, STRANGER = ids.new(), ids.new()


@pytest.fixture
async def api(database):
    async with serving(database) as url, aiohttp.ClientSession(url, headers=key(ME)) as session:
        yield session


async def put(api, name, body, **options):
    async with api.put(f"/v1/devices/{name}", json=body, **options) as answer:
        return answer.status, await answer.json()


async def get(api, path, **options):
    async with api.get(path, **options) as answer:
        return answer.status, await answer.json()


async def test_a_device_is_created_once_and_updated_after_that(api):
    status, first = await put(api, "phone-1", {**PHONE, "user_id": "u1", "attributes": {"plan": "gold"}})
    assert status == 201
    assert first["id"] == "phone-1"
    assert first["device_id"].startswith("dev_")
    assert (first["state"], first["user_id"], first["attributes"]) == ("active", "u1", {"plan": "gold"})
    status, second = await put(api, "phone-1", {**PHONE, "locale": "PT-br", "timezone": "Europe/Paris"})
    assert status == 200
    assert second["device_id"] == first["device_id"]
    assert (second["user_id"], second["attributes"]) == (None, {}), "a PUT is the full state"
    assert (second["locale"], second["timezone"]) == ("pt-BR", "Europe/Paris")
    assert second["updated_at"] > first["updated_at"]
    assert await get(api, "/v1/devices/phone-1") == (200, second)


async def test_attributes_are_replaced_as_a_whole(api):
    await put(api, "phone-1", {**PHONE, "attributes": {"a": 1, "b": 2}})
    _, device = await put(api, "phone-1", {**PHONE, "attributes": {"b": [3, None, {"c": 1.5}]}})
    assert device["attributes"] == {"b": [3, None, {"c": 1.5}]}


async def test_a_token_is_never_shown_in_full(api):
    _, device = await put(api, "phone-1", PHONE)
    assert device["token_suffix"] == PHONE["token"][-6:]
    assert device["token_sha256"] == hashlib.sha256(PHONE["token"].encode()).hexdigest()
    assert PHONE["token"] not in str(device)
    _, browser = await put(api, "browser-1", BROWSER)
    assert BROWSER["subscription"]["endpoint"] not in str(browser)
    assert "secret" not in str(browser)


async def test_a_token_moves_to_the_device_that_registers_it_last(api):
    await put(api, "old", {**PHONE, "user_id": "u1"})
    await put(api, "new", {**PHONE, "user_id": "u2"})
    _, old = await get(api, "/v1/devices/old")
    assert (old["state"], old["token_suffix"], old["token_sha256"]) == ("superseded", None, None)
    _, new = await get(api, "/v1/devices/new")
    assert new["state"] == "active"
    _, again = await put(api, "old", {"provider": "fcm", "token": "another-token"})
    assert again["state"] == "active"


async def test_the_same_token_in_another_environment_is_another_token(api):
    await put(api, "one", PHONE)
    await put(api, "two", {**PHONE, "environment": "sandbox"})
    assert [(await get(api, f"/v1/devices/{name}"))[1]["state"] for name in ("one", "two")] == ["active", "active"]


@pytest.mark.parametrize("name", ["a b", "a/b", "ünï-📱", "x" * 200, "import", "imports", "a/logout"])
async def test_a_device_may_have_any_printable_name(api, name):
    path = f"/v1/devices/{name.replace('/', '%2F')}"
    async with api.put(path, json=PHONE) as answer:
        assert answer.status == 201
    assert (await get(api, path))[1]["id"] == name
    async with api.post(path + "/logout") as answer:
        assert answer.status == 200
    async with api.delete(path) as answer:
        assert answer.status == 204
    assert (await get(api, path))[0] == 404


@pytest.mark.parametrize("path", ["", "x" * 201, "a%09b", "imports%2F7"])
async def test_a_name_that_cannot_be_is_refused(api, path):
    status, problem = await put(api, path, PHONE)
    assert (status, problem["code"]) == (422, "invalid_field")


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({}, "missing_field", "/provider"),
        ({"provider": "pigeon", "token": "12345678"}, "invalid_field", "/provider"),
        ({"provider": "fcm"}, "invalid_token", "/token"),
        ({"provider": "fcm", "token": "short"}, "invalid_token", "/token"),
        ({"provider": "fcm", "token": 7}, "invalid_field", "/token"),
        ({"provider": "fcm", "subscription": BROWSER["subscription"]}, "invalid_token", "/subscription"),
        ({**PHONE, "tokn": "x"}, "unknown_field", "/tokn"),
        ({**PHONE, "locale": "xx-YY"}, "unknown_locale", "/locale"),
        ({**PHONE, "timezone": "Europe/Pariss"}, "unknown_timezone", "/timezone"),
        ({**PHONE, "user_id": ""}, "invalid_field", "/user_id"),
        ({**PHONE, "user_id": "a\tb"}, "invalid_field", "/user_id"),
        ({**PHONE, "user_id": "a\0b"}, "invalid_field", "/user_id"),
        ({**PHONE, "environment": "moon"}, "invalid_field", "/environment"),
        ({**PHONE, "attributes": [1]}, "invalid_field", "/attributes"),
        ({**PHONE, "attributes": {"big": "x" * 8192}}, "invalid_field", "/attributes"),
        ({**PHONE, "attributes": {"wide": 1 << 70}}, "invalid_field", "/attributes"),
        ({**PHONE, "attributes": {"a": {"b": {"c": {}}}}}, "invalid_field", "/attributes/a/b/c"),
        ({**PHONE, "attributes": {"a": "\0"}}, "invalid_field", "/attributes/a"),
    ],
)
async def test_a_bad_device_is_refused_with_the_field_and_nothing_is_stored(api, body, code, pointer):
    status, problem = await put(api, "phone-1", body)
    assert (status, problem["code"], problem["pointer"]) == (422, code, pointer)
    assert problem["detail"]
    assert (await get(api, "/v1/devices/phone-1"))[0] == 404


async def test_a_number_that_is_none_is_refused(api):
    body = '{"provider": "fcm", "token": "token-1234", "attributes": {"n": NaN}}'
    async with api.put("/v1/devices/phone-1", data=body, headers={"Content-Type": "application/json"}) as answer:
        assert answer.status == 422
        assert (await answer.json())["pointer"] == "/attributes/n"


async def test_devices_are_listed_in_pages_and_by_filters(api):
    for number in range(5):
        await put(
            api, f"phone-{number}", {"provider": "fcm", "token": f"token-{number}-long", "user_id": f"u{number % 2}"}
        )
    await put(api, "browser-1", {**BROWSER, "user_id": "u0"})
    async with api.post("/v1/devices/phone-4/logout"):
        pass
    seen, cursor = [], None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        _, page = await get(api, "/v1/devices", params=query)
        seen += [device["id"] for device in page["data"]]
        assert len(page["data"]) <= 2
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == ["phone-0", "phone-1", "phone-2", "phone-3", "phone-4", "browser-1"]

    async def listed(**query):
        return [device["id"] for device in (await get(api, "/v1/devices", params=query))[1]["data"]]

    assert await listed(user_id="u0") == ["phone-0", "phone-2", "browser-1"]
    assert await listed(provider="webpush") == ["browser-1"]
    assert await listed(state="logged_out") == ["phone-4"]
    assert await listed(state="logged_out", provider="webpush") == []
    assert await listed(state="active", user_id="u1") == ["phone-1", "phone-3"]
    assert await listed(state="dead", user_id="u1") == []
    assert await listed(state="active", provider="fcm") == ["phone-0", "phone-1", "phone-2", "phone-3"]
    _, page = await get(api, "/v1/devices", params={"limit": "1"})
    status, problem = await get(api, "/v1/devices", params={"cursor": page["next_cursor"], "user_id": "u0"})
    assert (status, problem["code"]) == (400, "malformed_cursor")


async def test_a_logged_out_device_has_no_user_and_is_no_target_until_it_registers(api, database):
    await put(api, "phone-1", {**PHONE, "user_id": "u1"})
    async with api.post("/v1/devices/phone-1/logout", headers={"Idempotency-Key": "k"}) as answer:
        assert answer.status == 200
        device = await answer.json()
    assert (device["state"], device["user_id"], device["token_suffix"]) == ("logged_out", None, PHONE["token"][-6:])
    async with api.post("/v1/devices/phone-1/logout", headers={"Idempotency-Key": "k"}) as answer:
        assert (await answer.json(), answer.headers["idempotent-replayed"]) == (device, "true")
    _, device = await put(api, "phone-1", {**PHONE, "user_id": "u2"})
    assert (device["state"], device["user_id"]) == ("active", "u2")


async def test_logging_out_a_dead_device_does_not_make_it_alive(api, database):
    _, device = await put(api, "phone-1", {**PHONE, "user_id": "u1"})
    async with database.scope(ME) as tx:
        device_id = ids.read(ids.DEVICE, device["device_id"])
        assert await audience.forget(tx, ReturnsHint(ME, [Learned(device_id, 1, None)])) == 1
    async with api.post("/v1/devices/phone-1/logout") as answer:
        assert (await answer.json())["state"] == "dead"


async def test_each_operation_works_for_the_owner_and_is_404_for_a_stranger(api, database):
    _, mine = await put(api, "phone-1", {**PHONE, "user_id": "u1"})
    async with api.post("/v1/devices/import", params={"import_id": "i1"}, headers=NDJSON) as answer:
        assert answer.status == 200
        await answer.read()
    operations = [
        ("GET", "/v1/devices/phone-1"),
        ("GET", "/v1/devices/imports/i1"),
        ("POST", "/v1/devices/phone-1/logout"),
        ("DELETE", "/v1/devices/phone-1"),
    ]
    before = await everything(database)
    for method, path in operations:
        async with api.request(method, path, headers=key(STRANGER)) as answer:
            assert (answer.status, (await answer.json())["code"]) == (404, "not_found")
    _, page = await get(api, "/v1/devices", headers=key(STRANGER))
    assert page["data"] == []
    assert await everything(database) == before
    status, theirs = await put(api, "phone-1", {**PHONE, "user_id": "u9"}, headers=key(STRANGER))
    assert (status, theirs["device_id"] != mine["device_id"]) == (201, True), "the same token lives in two apps"
    assert await everything(database) == before
    for method, path in operations:
        async with api.request(method, path) as answer:
            assert answer.status in (200, 204)


async def everything(database):
    async with database.scope(ME) as tx:
        return [
            await tx.fetch(f"select * from audience.{table} order by 1, 2")
            for table in ("devices", "details", "imports")
        ]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_without_a_key_there_is_nothing(api, method):
    async with api.request(method, "/v1/devices/phone-1", headers={"Authorization": "Bearer nothing"}) as answer:
        assert (answer.status, (await answer.json())["code"]) == (401, "unauthorized")


async def test_two_callers_who_register_one_token_at_once_leave_it_with_one(api, database):
    bodies = [(f"phone-{number}", {**PHONE, "user_id": f"u{number}"}) for number in range(20)]
    answers = await asyncio.gather(*(put(api, name, body) for name, body in bodies))
    assert {status for status, _ in answers} == {201}
    async with database.scope(ME) as tx:
        assert await tx.fetchval("select count(*) from audience.devices where state = 'active'") == 1


async def test_openapi_describes_the_door(api):
    _, document = await get(api, "/openapi.json")
    paths = document["paths"]
    assert set(paths["/v1/devices/{external_id}"]) == {"get", "put", "delete"}
    assert paths["/v1/devices/{external_id}"]["put"]["requestBody"]["content"]["application/json"]
    assert "application/x-ndjson" in paths["/v1/devices/import"]["post"]["requestBody"]["content"]
