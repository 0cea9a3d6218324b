"""A POST sent twice with one key is done once, however close together the two are."""

import asyncio

import pytest
import pytest_asyncio
from tests.contracts.api import RECEIPT_KEY, World, fresh_database, world

from tocsin.ledger import receipts
from tocsin.storage import Database
from tocsin.terms import ids
from tocsin.terms.errors import Refused
from tocsin.web.answers import Answer
from tocsin.web.idempotency import Once, do_around, do_once, forget_expired

BODY = {"to": {"device": "phone-1"}, "content": {"title": "Hi"}}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(postgres):
    """One database for the file: each test has apps of its own in it."""
    async with fresh_database(postgres) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def api(shared, tmp_path):
    async with world(shared, tmp_path) as made:
        await made.me.device("phone-1")
        yield made


async def post(api: World, key: str, body=None, path="/v1/notifications"):
    return await api.me.post(path, BODY if body is None else body, headers={"Idempotency-Key": key})


async def count(api: World, table: str) -> int:
    async with api.database.scope(api.me.app_id) as tx:
        return int(await tx.fetchval(f"select count(*) from {table}"))


async def test_of_24_twins_one_does_it_and_all_get_its_very_octets(api):
    for key in ("first", "second", "k" * 255):
        replies = await asyncio.gather(*(post(api, key) for _ in range(24)))
        assert {reply.status for reply in replies} == {202}
        assert len({reply.body for reply in replies}) == 1
        assert (
            sorted(reply.headers.get("Idempotent-Replayed", "fresh") for reply in replies) == ["fresh"] + ["true"] * 23
        )
    assert await count(api, "intake.notifications") == 3
    assert await count(api, "content.messages") == 3
    assert await count(api, "ledger.runs") == 3
    async with api.database.transaction() as tx:
        assert await tx.fetchval("select count(*) from lanes.messages where app_id = $1", api.me.app_id) == 3


async def test_requests_without_a_key_are_each_their_own(api):
    one, two = await api.me.post("/v1/notifications", BODY), await api.me.post("/v1/notifications", BODY)
    assert one.json["id"] != two.json["id"]
    assert await count(api, "web.idempotency") == 0


async def test_the_same_key_with_another_body_is_refused(api):
    first = await post(api, "key")
    other = await post(api, "key", {**BODY, "ttl": 5})
    assert (other.status, other.json["code"], other.json["retryable"]) == (422, "idempotency_mismatch", False)
    again = await post(api, "key")
    assert (again.status, again.body) == (202, first.body)


async def test_a_refused_request_does_not_use_its_key_up(api):
    refused = await post(api, "key", {**BODY, "to": {"device": "phone-2"}})
    assert refused.status == 422
    assert await count(api, "web.idempotency") == 0
    assert (await post(api, "key")).status == 202


async def test_a_twin_that_waits_over_a_second_is_told_to_come_again(api):
    first = await post(api, "key")
    async with api.database.scope(api.me.app_id) as tx:
        await tx.execute("update web.idempotency set expires_at = now() - interval '1 s'")
    async with api.database.scope(api.me.app_id) as tx:
        await tx.execute("select 1 from web.idempotency for update")
        waiting = await post(api, "key")
    assert (waiting.status, waiting.json["code"], waiting.json["retryable"]) == (409, "in_progress", True)
    assert waiting.headers["Retry-After"] == "1"
    late = await post(api, "key")
    assert late.status == 202
    assert late.json["id"] != first.json["id"], "a key past its time is a new one"
    assert "Idempotent-Replayed" not in late.headers


async def test_one_key_may_serve_for_different_operations(api):
    sent = await post(api, "key")
    path = f"/v1/notifications/{sent.json['id']}"
    paused = await post(api, "key", {}, f"{path}/pause")
    resumed = await post(api, "key", {}, f"{path}/resume")
    cancelled = await post(api, "key", {}, f"{path}/cancel")
    assert [reply.status for reply in (paused, resumed, cancelled)] == [200, 200, 202]
    assert paused.json == {"id": sent.json["id"], "status": "paused"}


async def test_one_key_does_not_serve_for_another_notification(api):
    one, two = await api.me.send(device="phone-1"), await api.me.send(device="phone-1")
    assert (await post(api, "key", {}, f"/v1/notifications/{one}/pause")).status == 200
    assert (await post(api, "key", {}, f"/v1/notifications/{two}/pause")).status == 422
    assert (await api.me.get(f"/v1/notifications/{two}")).json["status"] == "accepted"


async def test_a_move_said_again_with_its_key_answers_as_it_did(api):
    sent = await api.me.send(device="phone-1")
    path = f"/v1/notifications/{sent}"
    paused = await post(api, "key", {}, f"{path}/pause")
    assert (await api.me.post(f"{path}/cancel")).status == 202
    again = await post(api, "key", {}, f"{path}/pause")
    assert (again.status, again.body, again.headers["Idempotent-Replayed"]) == (200, paused.body, "true")
    fresh = await api.me.post(f"{path}/pause")
    assert (fresh.status, fresh.json["code"]) == (409, "wrong_state")


async def test_twins_of_a_move_get_the_same_octets(api):
    sent = await api.me.send(device="phone-1")
    replies = await asyncio.gather(*(post(api, "key", {}, f"/v1/notifications/{sent}/cancel") for _ in range(8)))
    assert {reply.status for reply in replies} == {202}
    assert len({reply.body for reply in replies}) == 1


async def test_a_receipt_s_key_is_kept_too(api):
    sent = ids.read("ntf", await api.me.send(device="phone-1"))
    body = {"receipt": receipts.sign(RECEIPT_KEY, api.me.app_id, sent, ids.new()), "kind": "opened"}
    first, again = await post(api, "key", body, "/v1/receipts"), await post(api, "key", body, "/v1/receipts")
    assert (first.status, again.status, again.headers["Idempotent-Replayed"]) == (204, 204, "true")
    assert (await post(api, "key", body | {"kind": "clicked"}, "/v1/receipts")).status == 422


# ---------------------------------------------------------------------- between the lines of the protocol

ONCE = Once(b"k" * 32, b"b" * 32)


@pytest.mark.asyncio(loop_scope="function")
async def test_a_key_whose_row_ends_between_two_statements_is_still_running(demo_app):
    class Nothing(Database):
        """Finds the key taken, and then its row gone."""

        def __init__(self): ...

        def scope(self, _):
            return self

        async def __aenter__(self):
            return self

        async def __aexit__(self, *_): ...

        async def fetchval(self, *_):
            return None

        async def fetchrow(self, *_):
            return None

    async def never(_):
        raise AssertionError("the work of a twin")

    with pytest.raises(Refused) as refused:
        await do_once(Nothing(), demo_app.app_id, ONCE, never)
    assert (refused.value.code, refused.value.retry_after) == ("in_progress", 1)


@pytest.mark.asyncio(loop_scope="function")
async def test_what_a_twin_did_meanwhile_is_the_answer_of_an_act_that_became_impossible(database, demo_app):
    async def twin(_):
        return Answer(200, b"{}")

    async def too_late():
        await do_once(database, demo_app.app_id, ONCE, twin)
        raise Refused("wrong_state", "Done already.")

    done = await do_around(database, demo_app.app_id, ONCE, too_late)
    assert (done.answer, done.fresh) == (Answer(200, b"{}"), False)

    async def impossible():
        raise Refused("wrong_state", "Never possible.")

    with pytest.raises(Refused, match="Never possible"):
        await do_around(database, demo_app.app_id, Once(b"x" * 32, b"b" * 32), impossible)


@pytest.mark.asyncio(loop_scope="function")
async def test_the_keeper_forgets_what_is_past_its_time_and_nothing_else(database, keeper_database, demo_app):
    async def work(_):
        return Answer(200, b"{}")

    for name in (b"1", b"2", b"3"):
        await do_once(database, demo_app.app_id, Once(name * 32, b""), work)
    async with database.scope(demo_app.app_id) as tx:
        await tx.execute(
            "update web.idempotency set expires_at = now() - interval '1 s' where key_hash <> $1", b"2" * 32
        )
    await forget_expired(keeper_database)
    async with database.scope(demo_app.app_id) as tx:
        assert [row[0] for row in await tx.fetch("select key_hash from web.idempotency")] == [b"2" * 32]
        kept = await tx.fetchval("select expires_at - now() between '23:59' and '24:00' from web.idempotency")
        assert kept, "a key is good for 24 hours"
