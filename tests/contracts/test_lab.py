"""The lab as a process: how it starts, is controlled, is killed, comes back and ends."""

import asyncio
import json
import socket
import stat

import aiohttp
import pytest
from tests.contracts.h2_client import H2Client
from tests.contracts.lab_process import LabProcess
from tests.contracts.lab_senders import (
    access_token,
    delivery,
    fcm_body,
    fcm_headers,
    path_of,
    push_headers,
    sealed,
    vapid,
    vapid_key,
)

from tocsin.lab import make, rows

PATH = "/v1/projects/tocsin-lab/messages:send"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    lab = LabProcess(tmp_path_factory.mktemp("lab")).start()
    lab.ask("/lab/settings", "POST", {"latency_ms": [0, 2]})
    yield lab
    assert (lab.stop(), lab.words()) == (0, "")


def test_only_its_owner_may_read_what_is_secret(running):
    for name in ("ca.key", "server.pem", "accounts.json", "browsers.sqlite"):
        assert stat.S_IMODE((running.directory / name).stat().st_mode) == 0o600, name


def test_lab_json_says_where_everything_answers(running):
    told = json.loads((running.directory / "lab.json").read_bytes())
    assert told["origin"] == f"https://localhost:{running.port}"
    assert told["websocket"] == f"ws://127.0.0.1:{running.control_port}/ws"
    assert (told["pid"], told["ca"]) == (running.pid, str(running.ca))


def test_the_table_of_magic_tokens_has_a_working_example_of_each(running):
    table = running.ask("/lab/tokens")
    assert {(name, row["name"]) for name in table for row in table[name]} == {
        (row.provider, row.name) for row in rows()
    }
    assert all(row["token"] == make(row["name"], 0) for row in table["fcm"])
    assert all(row["subscription"]["keys"]["auth"] for row in table["webpush"])


async def test_http_1_1_is_served_too_kept_alive_and_cut_by_a_broken_connection(running):
    before, bearer = running.lines(), access_token(running)
    connector = aiohttp.TCPConnector(ssl=running.tls("http/1.1"), limit=1)
    async with aiohttp.ClientSession(running.origin, connector=connector) as session:
        for n in range(3):
            async with session.post(PATH, data=fcm_body(make("ok", n)), headers=dict(fcm_headers(bearer))) as answer:
                assert (answer.status, answer.version) == (200, aiohttp.HttpVersion11)
                assert (await answer.json())["name"].startswith("projects/tocsin-lab/messages/")
        with pytest.raises(aiohttp.ClientError):
            await session.post(PATH, data=fcm_body(make("cut", 1)), headers=dict(fcm_headers(bearer)))
        with pytest.raises(TimeoutError):
            await session.post(
                PATH, data=fcm_body(make("silent", 1)), headers=dict(fcm_headers(bearer)),
                timeout=aiohttp.ClientTimeout(total=0.3),
            )  # fmt: skip
    lines = running.ledger(before)
    assert [line["status"] for line in lines] == [200, 200, 200, "cut", "silent"]
    assert len({line["connection"] for line in lines[:4]}) == 1


async def test_http_1_1_can_be_pipelined_and_asked_to_close(running):
    reader, writer = await asyncio.open_connection("localhost", running.control_port)
    get = b"GET /lab/acks HTTP/1.1\r\nHost: x\r\n"
    writer.write((get + b"\r\n") * 3 + get + b"Connection: close\r\n\r\n")
    received = await asyncio.wait_for(reader.read(-1), 5)
    assert received.count(b"HTTP/1.1 200") == 4
    writer.close()
    await writer.wait_closed()


async def test_http_1_1_waits_for_a_body_that_was_announced(running):
    reader, writer = await asyncio.open_connection("localhost", running.control_port)
    body = b'{"channel": null}'
    head = (
        b"POST /lab/flip HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    )
    writer.write(head % len(body))
    assert b"100" in await asyncio.wait_for(reader.readline(), 5)
    writer.write(body)
    assert b"HTTP/1.1 200" in await asyncio.wait_for(reader.read(-1), 5)
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"POST /lab/flip HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000, b"413"),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n", b""),
    ],
)
async def test_what_is_not_http_is_refused_and_the_connection_closed(running, octets, status):
    reader, writer = await asyncio.open_connection("localhost", running.control_port)
    writer.write(octets)
    received = await asyncio.wait_for(reader.read(-1), 5)
    assert received.split(b" ")[1:2] == ([status] if status else [])
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("path", "method", "body", "status", "words"),
    [
        ("/elsewhere", "GET", None, 404, "there is no /elsewhere; there are: /lab"),
        ("/lab", "POST", {}, 405, "/lab takes GET"),
        ("/lab/faults", "POST", {"kind": "explode"}, 400, "kind: expected one of"),
        ("/lab/faults", "POST", [1], 400, "not a JSON object"),
        ("/lab/credentials/fcm", "POST", {"action": "burn"}, 400, "action: expected revoke or restore"),
        ("/lab/credentials/webpush", "POST", {"revoked": True}, 400, "revoked: no such member"),
        ("/lab/flip", "POST", {"channel": 5}, 400, "channel: expected a channelID"),
        ("/lab/settings", "POST", {"latency_ms": [5, 1]}, 400, "latency_ms: expected"),
        ("/lab/settings", "POST", {"access_token_seconds": 0}, 400, "access_token_seconds: expected"),
        ("/lab/settings", "POST", {"speed": 0}, 400, "speed: no such member"),
        ("/lab/ledger?limit=0", "GET", None, 400, "limit: expected a whole number from 1"),
        ("/lab/acks?after=x", "GET", None, 400, "after: expected a whole number"),
    ],
)
def test_a_control_request_that_cannot_be_is_refused_in_words(running, path, method, body, status, words):
    got, said = running.refusal(path, method, body)
    assert got == status
    assert words in said


async def test_a_control_body_that_is_no_json_is_refused(running):
    async with aiohttp.ClientSession() as session, session.post(running.control + "/lab/flip", data=b"{") as answer:
        assert answer.status == 400
        assert "not JSON" in (await answer.json())["error"]


def test_rules_in_force_are_shown_with_what_they_did(running):
    made = running.ask(
        "/lab/faults", "POST", {"kind": "cut", "name": "shown", "probability": 0.5, "count": 9, "seed": 3}
    )
    shown = running.ask("/lab/faults")
    assert shown["data"] == [made] == running.ask("/lab")["faults"]
    assert (made["left"], made["injected"], made["seed"]) == (9, 0, 3)
    assert "cut" in shown["kinds"]
    assert running.ask("/lab/faults", "DELETE") == {"removed": 1}


async def test_killed_and_started_again_it_is_the_same_lab(tmp_path):
    lab = LabProcess(tmp_path).start()
    accounts = [lab.ask(f"/lab/accounts/{name}") for name in ("fcm", "webpush")]
    (to,) = lab.ask("/lab/subscriptions", "POST", {})["subscriptions"]
    authority, bearer, token, sent = lab.ca.read_bytes(), access_token(lab), make("throttled", 1, 30), delivery()
    client = await H2Client.connect(lab.port, lab.tls("h2"))
    first = await client.request("POST", PATH, fcm_headers(bearer), fcm_body(token, sent))
    assert first.headers["retry-after"] == "30"
    lab.kill()
    await asyncio.wait_for(client.closed, 5)
    before = (tmp_path / "ledger.jsonl").read_bytes()
    assert before.count(b"\n") == 1, "written before it was answered"

    lab.start()
    assert [lab.ask(f"/lab/accounts/{name}") for name in ("fcm", "webpush")] == accounts
    assert lab.ca.read_bytes() == authority
    client = await H2Client.connect(lab.port, lab.tls("h2"))
    again = await client.request("POST", PATH, fcm_headers(bearer), fcm_body(token, sent))
    assert again.status == 429, "the wait goes on, and the access token is still good"
    assert 1 <= int(again.headers["retry-after"]) <= 30
    fields = push_headers(vapid(vapid_key(accounts[1]), lab.origin))
    assert (await client.request("POST", path_of(to["endpoint"]), fields, sealed(to, b"x"))).status == 201
    await client.close()
    told = [(line["n"], line["status"], line["early"]) for line in lab.ledger()]
    assert told == [(1, 429, False), (2, 429, True), (3, 201, False)]
    assert (tmp_path / "ledger.jsonl").read_bytes().startswith(before)
    assert (lab.stop(), lab.words()) == (0, "")


async def test_a_line_is_on_disk_before_its_answer_leaves(running, tmp_path):
    client = await H2Client.connect(running.port, running.tls("h2"))
    bearer = access_token(running)
    for n in range(20):
        sent = delivery()
        assert (await client.request("POST", PATH, fcm_headers(bearer), fcm_body(make("ok", n), sent))).status == 200
        assert sent.encode() in (running.directory / "ledger.jsonl").read_bytes()[-2000:]
    await client.close()


def test_a_second_lab_in_the_same_directory_is_refused_and_the_first_goes_on(tmp_path):
    first = LabProcess(tmp_path).start()
    with pytest.raises(RuntimeError, match="another lab is running in"):
        LabProcess(tmp_path).start()
    assert first.ask("/lab")["ledger"]["lines"] == 0
    assert first.stop() == 0


def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        lab = LabProcess(tmp_path)
        lab.port = taken.getsockname()[1]
        with pytest.raises(RuntimeError, match=f"cannot listen on 127.0.0.1:{lab.port}"):
            lab.start()


def test_accounts_that_cannot_be_read_stop_the_start_in_words(tmp_path):
    (tmp_path / "accounts.json").write_text("{}")
    with pytest.raises(RuntimeError, match="remove it to make new ones"):
        LabProcess(tmp_path).start()


def test_a_server_certificate_about_to_expire_is_made_anew_and_the_authority_kept(tmp_path):
    lab = LabProcess(tmp_path).start()
    authority = lab.ca.read_bytes()
    assert (lab.stop(), lab.words()) == (0, "")
    (tmp_path / "server.pem").replace(tmp_path / "away.pem")
    lab.start()
    assert lab.ca.read_bytes() == authority
    assert (tmp_path / "server.pem").read_bytes() != (tmp_path / "away.pem").read_bytes()
    assert access_token(lab)
    assert (lab.stop(), lab.words()) == (0, "")
