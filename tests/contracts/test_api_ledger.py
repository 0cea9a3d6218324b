"""What callers read of the ledger: progress, lists, deliveries and their stories; and the receipts devices send."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from tests.contracts.api import RECEIPT_KEY, World, conforms, fresh_database, give_credential, world

from tocsin import intake
from tocsin.ledger import receipts
from tocsin.terms import ids
from tocsin.terms.handoffs import Target
from tocsin.terms.outcomes import State

STATES = [state.value for state in State]


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


class Run:
    """One notification of the owner's, whose rows the test writes."""

    def __init__(self, api: World, shown: str) -> None:
        self.api, self.shown, self.id = api, shown, ids.read("ntf", shown)
        self.path = f"/v1/notifications/{shown}"

    async def execute(self, statement, *values):
        async with self.api.database.scope(self.api.me.app_id) as tx:
            return await tx.fetchval(statement, self.api.me.app_id, self.id, *values)

    async def batch(self, devices, *, open_=True, provider="fcm", **counts) -> int:
        number = await self.execute(
            "insert into ledger.batches (app_id, notification_id, class, credential_id, provider, device_ids, n,"
            " planned_at, due_at, woken_at, settled_at, sent, rejected, failed)"
            " values ($1, $2, 'now', $3, $4, $5, $6, now(), now(), now(), case when $7 then null else now() end,"
            " $8, $9, $10) returning batch_no",
            ids.new(),
            provider,
            sorted(devices) if open_ else None,
            max(1, len(devices)),
            open_,
            *(counts.get(state, 0) for state in ("sent", "rejected", "failed")),
        )
        return int(number)

    async def end(self, device: UUID, batch_no: int, state="sent", code="accepted", attempts=1, **more):
        await self.execute(
            "insert into ledger.deliveries (app_id, notification_id, device_id, state, code, provider, attempts,"
            " batch_no, provider_ref, detail, settled_at) values ($1, $2, $3, $4, $5, 'fcm', $6, $7, $8, $9, now())",
            device,
            state,
            code,
            attempts,
            batch_no,
            more.get("ref"),
            more.get("detail"),
        )

    async def attempt(self, device: UUID, batch_no: int, verdict: str, code: str, detail=None, again=True):
        await self.execute(
            "insert into ledger.attempts (app_id, notification_id, device_id, batch_no, epoch, verdict, code, detail,"
            " at, due_at) values ($1, $2, $3, $4, 1, $5, $6, $7, now(), case when $8 then now() end)",
            device,
            batch_no,
            verdict,
            code,
            detail,
            again,
        )

    async def get(self, tail=""):
        reply = await self.api.me.get(self.path + tail)
        assert reply.status == 200, reply.body
        return reply.json


async def make(api: World) -> Run:
    return Run(api, await api.me.send(user="u1"))


async def pages(api: World, path: str, limit: int) -> list[Any]:
    """All pages of a list, one after the other."""
    rows, cursor, join = [], "", "&" if "?" in path else "?"
    while cursor is not None:
        reply = await api.me.get(f"{path}{join}limit={limit}" + (f"&cursor={cursor}" if cursor else ""))
        assert reply.status == 200, reply.body
        assert len(reply.json["data"]) <= limit
        rows += reply.json["data"]
        cursor = reply.json["next_cursor"]
    return rows


# ---------------------------------------------------------------------- accepted


async def test_a_2xx_means_that_notification_message_run_and_hint_are_on_disk(api):
    await api.me.device("phone-1")
    reply = await api.me.post(
        "/v1/notifications",
        {
            "to": {"device": "phone-1", "users": ["u1"]},
            "content": {"title": "T", "body": "B", "link": "https://example.com/", "data": {"k": "v"}},
            "ttl": 60,
            "collapse_key": "c",
            "options": {"on_ambiguity": "drop"},
        },
    )
    assert reply.status == 202
    shown = reply.json
    assert (shown["status"], shown["class"]) == ("accepted", "now")
    accepted_at, expires_at = (datetime.fromisoformat(shown[name]) for name in ("accepted_at", "expires_at"))
    assert expires_at - accepted_at == timedelta(seconds=60)
    assert abs(datetime.now(UTC) - accepted_at) < timedelta(seconds=5)
    run = Run(api, shown["id"])
    assert await run.execute("select message from content.messages where ($1, $2) = (app_id, notification_id)") == {
        "title": "T",
        "body": "B",
        "link": "https://example.com/",
        "data": {"k": "v"},
    }
    async with api.database.scope(api.me.app_id) as tx:
        kept = await intake.recall(tx, api.me.app_id, run.id)
        assert kept.target == Target(users=("u1",), devices=("phone-1",))
        assert (kept.options.ttl, kept.options.collapse_key, kept.options.on_ambiguity) == (60, "c", "drop")
        assert kept.expires_at - kept.accepted_at == timedelta(seconds=60)
        hint = await tx.fetchrow("select lane, class, app_id from lanes.messages where app_id = $1", api.me.app_id)
        assert (hint["lane"], hint["class"], hint["app_id"]) == ("accepted", "now", api.me.app_id)
    assert (await run.get())["progress"] == {"targeted": 0, "pending": 0} | dict.fromkeys(STATES, 0)


async def test_a_notification_that_is_not_there_cannot_be_recalled(api):
    async with api.database.scope(api.me.app_id) as tx:
        with pytest.raises(LookupError):
            await intake.recall(tx, api.me.app_id, ids.new())


# ---------------------------------------------------------------------- progress


async def test_progress_sums_the_batches_and_the_rest_is_pending(api):
    run = await make(api)
    await run.execute(
        "update ledger.runs set targeted = 10, status = 'running' where ($1, $2) = (app_id, notification_id)"
    )
    await run.batch([ids.new() for _ in range(4)], sent=2, rejected=1)
    await run.batch([], open_=False, sent=1, failed=1)
    shown = await run.get()
    assert shown["status"] == "running"
    assert shown["progress"] == {
        "targeted": 10,
        "pending": 5,
        "sent": 3,
        "rejected": 1,
        "expired": 0,
        "cancelled": 0,
        "suppressed": 0,
        "failed": 1,
    }


async def test_a_run_that_ended_has_its_own_counts(api):
    run = await make(api)
    await run.batch([], open_=False, sent=1)
    await run.execute(
        "update ledger.runs set targeted = 7, planned = true, status = 'completed', counts = $3"
        " where ($1, $2) = (app_id, notification_id)",
        {"sent": 4, "suppressed": 3},
    )
    shown = await run.get()
    assert (shown["status"], shown["planned"]) == ("completed", True)
    assert shown["progress"] == dict.fromkeys(STATES, 0) | {"targeted": 7, "pending": 0, "sent": 4, "suppressed": 3}
    (listed,) = (await api.me.get("/v1/notifications")).json["data"]
    assert listed == shown


async def test_notifications_are_listed_newest_first_page_by_page(api):
    sent = [await api.me.send(user=f"u{number}") for number in range(7)]
    assert [row["id"] for row in await pages(api, "/v1/notifications", 3)] == sent[::-1]
    await api.me.post(f"/v1/notifications/{sent[2]}/pause")
    assert [row["id"] for row in await pages(api, "/v1/notifications?status=paused", 1)] == [sent[2]]
    assert await pages(api, "/v1/notifications?status=completed", 5) == []


async def test_a_cursor_holds_for_its_own_filters_only(api):
    for number in range(3):
        await api.me.send(user=f"u{number}")
    cursor = (await api.me.get("/v1/notifications?limit=1")).json["next_cursor"]
    reply = await api.me.get(f"/v1/notifications?limit=1&status=accepted&cursor={cursor}")
    assert (reply.status, reply.json["code"]) == (400, "malformed_cursor")


# ---------------------------------------------------------------------- deliveries


async def test_deliveries_are_listed_by_device_with_filters_and_pages(api):
    run = await make(api)
    known = {}
    for number in range(5):
        known[ids.read("dev", await api.me.device(f"phone-{number}"))] = f"phone-{number}"
    devices = sorted(known)
    batch = await run.batch([], open_=False)
    for number, device in enumerate(devices):
        if number < 3:
            await run.end(device, batch)
        else:
            await run.end(device, batch, "rejected", ("unregistered", "invalid_payload")[number - 3], detail="NOPE")
    rows = await pages(api, f"{run.path}/deliveries", 2)
    assert [row["device"] for row in rows] == [known[device] for device in devices]
    assert [row["id"] for row in rows] == [ids.show_delivery(run.id, device) for device in devices]
    assert {row["state"] for row in rows} == {"sent", "rejected"}
    rejected = await pages(api, f"{run.path}/deliveries?state=rejected", 1)
    assert [row["code"] for row in rejected] == ["unregistered", "invalid_payload"]
    coded = await pages(api, f"{run.path}/deliveries?state=rejected&code=invalid_payload", 10)
    assert [row["device_id"] for row in coded] == [ids.show(ids.DEVICE, devices[4])]
    assert await pages(api, f"{run.path}/deliveries?state=failed", 10) == []


async def test_what_was_sent_to_a_device_is_listed_newest_first(api):
    device = ids.read("dev", await api.me.device("phone.1"))
    runs = [await make(api) for _ in range(3)]
    for run, state in zip(runs, ("sent", "rejected", "sent"), strict=True):
        await run.end(device, await run.batch([], open_=False), state=state)
    listed = await pages(api, "/v1/deliveries?device=phone.1", 2)
    assert [row["id"] for row in listed] == [ids.show_delivery(run.id, device) for run in reversed(runs)]
    assert [row["state"] for row in listed] == ["sent", "rejected", "sent"]
    assert {row["device"] for row in listed} == {"phone.1"}
    assert (await api.me.get("/v1/deliveries?device=phone-2")).status == 404


async def test_a_deleted_device_keeps_its_delivery_without_its_name(api):
    run = await make(api)
    device = ids.read("dev", await api.me.device("phone-1"))
    await run.end(device, await run.batch([], open_=False))
    assert (await api.me.call("DELETE", "/v1/devices/phone-1")).status == 204
    (row,) = (await run.get("/deliveries"))["data"]
    assert (row["device"], row["device_id"], row["state"]) == (None, ids.show(ids.DEVICE, device), "sent")


async def test_pending_deliveries_are_those_of_open_batches(api):
    run = await make(api)
    devices = sorted(ids.new() for _ in range(5))
    await run.batch(devices[::2])
    await run.batch(devices[1::2], provider="webpush")
    await run.end(ids.new(), await run.batch([], open_=False))
    rows = await pages(api, f"{run.path}/deliveries?state=pending", 2)
    assert [row["device_id"] for row in rows] == [ids.show(ids.DEVICE, device) for device in devices]
    assert {row["state"] for row in rows} == {"pending"}
    assert [row["provider"] for row in rows] == ["fcm", "webpush", "fcm", "webpush", "fcm"]
    assert all(row["settled_at"] is None and row["code"] is None for row in rows)
    assert await pages(api, f"{run.path}/deliveries?state=pending&code=accepted", 2) == []


# ---------------------------------------------------------------------- one delivery


async def read(api: World, run: Run, device: UUID):
    reply = await api.me.get(f"/v1/deliveries/{ids.show_delivery(run.id, device)}")
    if reply.status == 200:
        conforms(api.app, "GET", "/v1/deliveries/{delivery_id}", reply)
    return reply


async def test_the_story_of_a_delivery_tells_it_all_and_ends_with_its_receipt(api):
    run = await make(api)
    device = ids.read("dev", await api.me.device("phone-1"))
    first = await run.batch([], open_=False)
    second = await run.batch([], open_=False)
    await run.attempt(device, first, "ambiguous", "cut_off")
    await run.attempt(device, second, "throttled", "throttled", "QUOTA_EXCEEDED")
    third = await run.batch([], open_=False, sent=1)
    await run.end(device, third, attempts=3, ref="projects/p/messages/9")
    token = receipts.sign(RECEIPT_KEY, api.me.app_id, run.id, device)
    assert (await api.me.post("/v1/receipts", {"receipt": token, "kind": "delivered"})).status == 204
    told = (await read(api, run, device)).json
    assert (told["state"], told["code"], told["attempts"], told["device"]) == ("sent", "accepted", 3, "phone-1")
    assert told["notification_id"] == run.shown
    assert told["provider_ref"] == "projects/p/messages/9"
    assert [each["verdict"] for each in told["attempt_log"]] == ["ambiguous", "throttled"]
    assert [each["kind"] for each in told["receipts"]] == ["delivered"]
    assert [each["event"] for each in told["story"]] == [
        "accepted",
        "planned",
        "attempt",
        "attempt",
        "sent",
        "receipt",
    ]
    words = " ".join(each["text"] for each in told["story"])
    for part in (f"batch {first}", "a second copy is possible", "QUOTA_EXCEEDED", "after 3 attempts", "delivered"):
        assert part in words


async def test_a_pending_delivery_has_a_story_too(api):
    run = await make(api)
    device = ids.new()
    await run.batch([device])
    told = (await read(api, run, device)).json
    assert (told["state"], told["code"], told["settled_at"]) == ("pending", None, None)
    assert told["story"][-1]["event"] == "pending"
    assert told["gloss"] == "It has not ended yet."


async def test_a_delivery_that_never_was_is_not_found(api):
    run = await make(api)
    assert (await read(api, run, ids.new())).status == 404
    elsewhere = ids.show_delivery(ids.new(), ids.new())
    assert (await api.me.get(f"/v1/deliveries/{elsewhere}")).status == 404


# ---------------------------------------------------------------------- moves


async def test_a_notification_is_paused_resumed_and_cancelled(api):
    run = await make(api)
    for verb, status, then in (("pause", 200, "paused"), ("resume", 200, "running"), ("cancel", 202, "cancelling")):
        reply = await api.me.post(f"{run.path}/{verb}")
        assert (reply.status, reply.json["id"], reply.json["status"]) == (status, run.shown, then)
    async with asyncio.timeout(5):
        while (await run.get())["status"] != "cancelled":
            await asyncio.sleep(0.02)
    for verb in ("pause", "resume"):
        reply = await api.me.post(f"{run.path}/{verb}")
        assert (reply.status, reply.json["code"]) == (409, "wrong_state")


# ---------------------------------------------------------------------- receipts


async def receipts_of(run: Run) -> int:
    return int(await run.execute("select count(*) from ledger.receipts where ($1, $2) = (app_id, notification_id)"))


async def test_a_receipt_needs_no_key_is_kept_once_per_kind_and_comes_from_any_page(api):
    run = await make(api)
    token = receipts.sign(RECEIPT_KEY, api.me.app_id, run.id, ids.new())
    page = {"Authorization": None, "Origin": "https://shop.example"}
    for kind in ("delivered", "opened", "opened", "clicked", "dismissed"):
        for content_type in ("application/json", "text/plain;charset=UTF-8"):
            reply = await api.me.post(
                "/v1/receipts", {"receipt": token, "kind": kind}, headers=page | {"Content-Type": content_type}
            )
            assert (reply.status, reply.body) == (204, b"")
            assert reply.headers["Access-Control-Allow-Origin"] == "*"
    assert await receipts_of(run) == 4


async def test_a_page_may_ask_before_it_posts(api):
    for path, method in (("/v1/receipts", "POST"), ("/v1/web-push/public-key", "GET")):
        reply = await api.me.call("OPTIONS", path, headers={"Authorization": None, "Origin": "https://shop.example"})
        assert reply.status == 204
        assert reply.headers["Access-Control-Allow-Origin"] == "*"
        assert reply.headers["Access-Control-Allow-Methods"] == method
        assert "content-type" in reply.headers["Access-Control-Allow-Headers"]
    other = await api.me.get("/v1/notifications")
    assert "Access-Control-Allow-Origin" not in other.headers


async def test_a_receipt_signed_by_another_installation_or_moved_to_another_app_is_refused(api):
    run = await make(api)
    device = ids.new()
    forged = receipts.sign(b"x" * 32, api.me.app_id, run.id, device)
    theirs = receipts.sign(RECEIPT_KEY, api.stranger.app_id, run.id, device)
    mine = receipts.sign(RECEIPT_KEY, api.me.app_id, run.id, device)
    for token in (forged, theirs[:21] + mine[21:], mine[:-2] + "AA"):
        reply = await api.me.post("/v1/receipts", {"receipt": token, "kind": "opened"})
        assert (reply.status, reply.json["code"]) == (401, "invalid_receipt")
    reply = await api.me.post("/v1/receipts", {"receipt": theirs, "kind": "opened"})
    assert (reply.status, reply.json["code"]) == (404, "not_found")
    assert await receipts_of(run) == 0


async def test_a_receipt_of_a_notification_that_is_past_retention_has_nowhere_to_be(api):
    long_ago = ids.new(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
    token = receipts.sign(RECEIPT_KEY, api.me.app_id, long_ago, ids.new())
    assert (await api.me.post("/v1/receipts", {"receipt": token, "kind": "opened"})).status == 404


# ---------------------------------------------------------------------- the key for pages


async def test_a_page_gets_the_app_s_public_key_by_key_or_by_the_app_s_id(api):
    path = "/v1/web-push/public-key"
    assert (await api.me.get(path)).status == 404
    await give_credential(api.database, api.me.app_id, "webpush", {"public_key": "BPublic"})
    assert (await api.me.get(path)).json == {"public_key": "BPublic"}
    page = {"Authorization": None}
    app = ids.show(ids.APP, api.me.app_id)
    reply = await api.me.get(f"{path}?app={app}", headers=page)
    assert reply.json == {"public_key": "BPublic"}
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    stranger = ids.show(ids.APP, api.stranger.app_id)
    for query, status in ((f"?app={stranger}", 404), ("?app=nonsense", 422), ("", 401)):
        assert (await api.me.get(path + query, headers=page)).status == status
