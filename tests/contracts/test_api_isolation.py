"""For every operation there is: the owner gets 2xx with these very ids, a stranger's key gets nothing of it, and no row
of the owner changes. The operations come from the API's own description, so that a new one without a case here fails.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from tests.contracts.api import RECEIPT_KEY, TOKEN, Client, World, conforms, fresh_database, give_credential, world

from tocsin.ledger import receipts
from tocsin.terms import ids

ABSENT = "absent"
"""A stranger is told 404, as if the ids were nobody's."""
UNKNOWN = "unknown"
"""A stranger is told 422: what his request names is not in his app."""
OWN = "own"
"""The operation names no id of the owner: a stranger acts in his own app."""
OPEN = "open"
"""The operation asks for no key."""


@dataclass(frozen=True)
class Case:
    """How to call an operation, and what a stranger gets for the same call."""

    stranger: str
    body: Any = None
    raw: bytes | None = None
    path: str | None = None
    """The path with its ids, if the operation has any; a format over what was prepared."""
    content_type: str = "application/json"
    before: Callable[[Client, dict[str, str]], Awaitable[Any]] | None = None
    """What the owner does first, so that the call can be made."""
    restore: Callable[[Client, dict[str, str]], Awaitable[Any]] | None = None
    """What the owner does after his call, so that there is something for a stranger to reach for."""


async def _pause(client: Client, made: dict[str, str]) -> None:
    await client.post(f"/v1/notifications/{made['notification']}/pause")


async def _register(client: Client, made: dict[str, str]) -> None:
    await client.device("phone-1", "u1")


CASES = {
    "GET /livez": Case(OPEN),
    "POST /v1/notifications": Case(UNKNOWN, {"to": {"device": "phone-1"}, "content": {"title": "Hi"}}),
    "GET /v1/notifications": Case(OWN),
    "GET /v1/notifications/{notification_id}": Case(ABSENT, path="/v1/notifications/{notification}"),
    "GET /v1/notifications/{notification_id}/deliveries": Case(
        ABSENT, path="/v1/notifications/{notification}/deliveries?state=pending"
    ),
    "POST /v1/notifications/{notification_id}/cancel": Case(ABSENT, path="/v1/notifications/{notification}/cancel"),
    "POST /v1/notifications/{notification_id}/pause": Case(ABSENT, path="/v1/notifications/{notification}/pause"),
    "POST /v1/notifications/{notification_id}/resume": Case(
        ABSENT, path="/v1/notifications/{notification}/resume", before=_pause
    ),
    "GET /v1/deliveries/{delivery_id}": Case(ABSENT, path="/v1/deliveries/{delivery}"),
    "POST /v1/receipts": Case(OPEN, {"receipt": "{receipt}", "kind": "opened"}),
    "GET /v1/web-push/public-key": Case(ABSENT),
    "GET /v1/devices": Case(OWN),
    "PUT /v1/devices/{external_id}": Case(
        OWN, {"provider": "fcm", "token": TOKEN + "phone-1", "user_id": "u9"}, path="/v1/devices/phone-1"
    ),
    "GET /v1/devices/{external_id}": Case(ABSENT, path="/v1/devices/phone-1"),
    "DELETE /v1/devices/{external_id}": Case(ABSENT, path="/v1/devices/phone-1", restore=_register),
    "GET /v1/deliveries": Case(ABSENT, path="/v1/deliveries?device=phone-1"),
    "POST /v1/devices/{external_id}/logout": Case(ABSENT, path="/v1/devices/phone-1/logout", restore=_register),
    "POST /v1/devices/import": Case(
        OWN,
        raw=b'{"id": "phone-1", "provider": "fcm", "token": "a-token-of-a-phone:imported"}\n',
        path="/v1/devices/import?import_id=imp-1",
        content_type="application/x-ndjson",
    ),
    "GET /v1/devices/imports/{import_id}": Case(ABSENT, path="/v1/devices/imports/imp-0"),
}
NOT_OF_AN_APP = {"GET /readyz"}
"""Operations about the installation, which have tests of their own."""


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(postgres):
    """One database for the file: each test has apps of its own in it."""
    async with fresh_database(postgres) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def api(shared, tmp_path):
    async with world(shared, tmp_path) as made:
        yield made


def operations(app: Any) -> set[str]:
    """Every operation the API has, as it describes itself."""
    return {f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items() for method in methods}


async def prepare(api: World) -> dict[str, str]:
    """A device, an import, a notification with a delivery, and a credential, all the owner's."""
    me = api.me
    device = await me.device("phone-1", "u1")
    line = b'{"id": "phone-2", "provider": "fcm", "token": "a-token-of-a-phone:2"}\n'
    imported = await me.post(
        "/v1/devices/import?import_id=imp-0", raw=line, headers={"Content-Type": "application/x-ndjson"}
    )
    assert imported.status == 200
    notification = await me.send(device="phone-1")
    app_id, notification_id, device_id = me.app_id, ids.read("ntf", notification), ids.read("dev", device)
    async with api.database.scope(app_id) as tx:
        await tx.execute(
            "insert into ledger.batches (app_id, notification_id, class, credential_id, provider, device_ids, n,"
            " planned_at, due_at, woken_at) values ($1, $2, 'now', $3, 'fcm', $4, 1, now(), now(), now())",
            app_id,
            notification_id,
            ids.new(),
            [device_id],
        )
    ended = await me.send(device="phone-1")
    async with api.database.scope(app_id) as tx:
        await tx.execute(
            "insert into ledger.deliveries (app_id, notification_id, device_id, state, code, provider, attempts,"
            " batch_no, settled_at) values ($1, $2, $3, 'sent', 'accepted', 'fcm', 1, 1, now())",
            app_id,
            ids.read("ntf", ended),
            device_id,
        )
    await give_credential(api.database, app_id, "webpush", {"public_key": "BKey"})
    return {
        "ended": ids.show_delivery(ids.read("ntf", ended), device_id),
        "notification": notification,
        "delivery": ids.show_delivery(notification_id, device_id),
        "receipt": receipts.sign(RECEIPT_KEY, app_id, notification_id, device_id),
    }


async def rows_of(api: World, client: Client) -> dict[str, Any]:
    """A digest of every row that an app has in any table."""
    digests = {}
    async with api.database.scope(client.app_id) as tx:
        tables = await tx.fetch(
            "select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where c.relkind in ('r', 'p') and not c.relispartition and has_table_privilege(c.oid, 'select')"
            " and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'app_id')"
        )
        for table in tables:
            digests[table["name"]] = await tx.fetchrow(
                "select count(*), md5(string_agg(t::text, '|' order by t::text))"
                f" from {table['name']} t where app_id = $1",
                client.app_id,
            )
    return digests


async def test_every_operation_has_a_case(api):
    assert operations(api.app) - NOT_OF_AN_APP == set(CASES)


@pytest.mark.parametrize("operation", sorted(CASES))
async def test_an_operation_serves_its_owner_and_shows_a_stranger_nothing(api, operation):
    case, made = CASES[operation], await prepare(api)
    method, template = operation.split()
    path = (case.path or template).format_map(made)
    body = case.body
    if body and "receipt" in body:
        body = {**body, "receipt": made["receipt"]}
    headers = {"Content-Type": case.content_type}
    if case.before:
        await case.before(api.me, made)

    reply = await api.me.call(method, path, body, raw=case.raw, headers=headers)
    assert 200 <= reply.status < 300, reply.body
    conforms(api.app, method, template, reply)
    if case.path and reply.body and case.content_type == "application/json":
        named = [value for value in (made["notification"], made["delivery"], "phone-1", "imp-0") if value in path]
        told = made["delivery"] if template.endswith("/deliveries") else named[-1]
        told = made["ended"] if template == "/v1/deliveries" else told
        assert told.encode() in reply.body, "the owner got something else than he asked for"

    if case.stranger is OPEN:
        return
    if case.restore:
        await case.restore(api.me, made)
    before = await rows_of(api, api.me)
    assert before["audience.devices"]["count"] == 2
    assert before["intake.notifications"]["count"] >= 1
    reply = await api.stranger.call(method, path, body, raw=case.raw, headers=headers)
    if case.stranger is ABSENT:
        assert (reply.status, reply.json["code"]) == (404, "not_found")
    elif case.stranger is UNKNOWN:
        assert (reply.status, reply.json["code"]) == (422, "unknown_device")
    else:
        assert 200 <= reply.status < 300
        for mine in (made["notification"], made["delivery"], "u1"):
            assert mine.encode() not in reply.body
    nobody = await api.me.call(method, path, body, raw=case.raw, headers=headers | {"Authorization": None})
    assert nobody.status == 401
    assert await rows_of(api, api.me) == before, "somebody else changed a row of the owner"


async def test_a_stranger_s_idempotency_key_is_his_own(api):
    await prepare(api)
    await api.stranger.device("phone-1")
    body = {"to": {"device": "phone-1"}, "content": {"title": "Hi"}}
    mine = await api.me.post("/v1/notifications", body, headers={"Idempotency-Key": "same"})
    his = await api.stranger.post("/v1/notifications", body, headers={"Idempotency-Key": "same"})
    assert (mine.status, his.status) == (202, 202)
    assert "Idempotent-Replayed" not in his.headers
    assert mine.json["id"] != his.json["id"]


async def test_no_answer_shows_a_token_or_a_secret(api):
    made = await prepare(api)
    for path in (
        "/v1/devices",
        "/v1/devices/phone-1",
        f"/v1/notifications/{made['notification']}/deliveries?state=pending",
        f"/v1/deliveries/{made['delivery']}",
        "/v1/web-push/public-key",
    ):
        reply = await api.me.get(path)
        assert reply.status == 200
        assert (TOKEN + "phone-1").encode() not in reply.body
        assert api.me.key.encode() not in reply.body
