"""The checker against a real run: it holds while the three ledgers agree, and fails as soon as one lacks one entry."""

import json

import asyncpg
import pytest
from tests.rig.judge import judge
from tests.rig.lab import fcm_token

SCENARIOS = ("ok", "dead", "error-once", "cut", "busy-once")


@pytest.fixture
async def run(platform, caller):
    """A small run with an end of every kind: its notification, once it has ended."""
    for name in SCENARIOS:
        await caller.register(name, token=fcm_token(name, f"{caller.app_id}-{name}"), user="u1")
    sent = await caller.send({"user": "u1"})
    await caller.until_ended(sent["id"], within=20)
    return sent["id"]


def without(path, number, target):
    """A copy of a ledger file that lacks one line."""
    lines = path.read_text("utf-8").splitlines(keepends=True)
    del lines[number]
    target.write_text("".join(lines), "utf-8")
    return target


async def test_one_entry_less_in_any_ledger_makes_the_checker_fail(platform, caller, run, tmp_path):
    client, lab = caller.log.path, platform.lab.ledger

    def verdict(*, c=client, p=lab):
        return judge(c, platform.reader, p, apps=(caller.app_id,))

    whole = verdict()
    assert whole.code == 0, whole.text
    assert whole.text.rstrip().endswith("verdict: 3 ledgers agree")

    # C: each registration and the request
    lines = [json.loads(line) for line in client.read_text("utf-8").splitlines()]
    entries = [number for number, line in enumerate(lines) if line["op"] in ("register", "send")]
    assert len(entries) == len(SCENARIOS) + 1
    for number in entries:
        found = verdict(c=without(client, number, tmp_path / "c.jsonl"))
        assert found.code == 1, (lines[number], found.text)

    # P: each request that reached the provider
    lines = [json.loads(line) for line in lab.read_text("utf-8").splitlines()]
    entries = [number for number, line in enumerate(lines) if line["notification"] == run]
    assert len(entries) == 8
    for number in entries:
        found = verdict(p=without(lab, number, tmp_path / "p.jsonl"))
        assert found.code == 1, (lines[number], found.text)

    # D: a terminal row, then an attempt, each put back afterwards
    database = await asyncpg.connect(platform.superuser)
    try:
        for table in ("deliveries", "attempts"):
            rows = await database.fetch(
                f"select * from ledger.{table} t join intake.notifications n using (app_id, notification_id) "
                f"where n.app_id = (select app_id from audience.devices where token = $1)",
                fcm_token("ok", f"{caller.app_id}-ok"),
            )
            assert rows
            for row in rows:
                place = (row["notification_id"], row["device_id"])
                where = "where notification_id = $1 and device_id = $2"
                await database.execute(f"create table public.kept as select * from ledger.{table} {where}", *place)
                await database.execute(f"delete from ledger.{table} {where}", *place)
                found = verdict()
                await database.execute(f"insert into ledger.{table} select * from public.kept")
                await database.execute("drop table public.kept")
                assert found.code == 1, (dict(row), found.text)
                assert "verdict: " in found.text
                assert "P, the provider:" in found.text
    finally:
        await database.close()
    assert verdict().code == 0


async def test_a_run_that_did_not_inject_what_it_stated_proves_nothing(platform, caller, run):
    caller.log.write("stated", injects={"kills_that_hit": 1})
    found = judge(caller.log.path, platform.reader, platform.lab.ledger, apps=(caller.app_id,))
    assert found.code == 2
    assert "not injected: kills_that_hit: stated at least 1, happened 0" in found.text


async def test_a_role_that_does_not_see_every_row_cannot_judge(platform, caller, run):
    dsn = platform.facts["database_url"]
    found = judge(caller.log.path, dsn, platform.lab.ledger, apps=(caller.app_id,))
    assert found.code == 3
    assert "SUPERUSER or BYPASSRLS" in found.text
