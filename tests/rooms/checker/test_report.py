"""What the checker prints, and how it reads the logs it is given."""

import json

import pytest
from tests.checker import client_log, ids, lab_log, totals
from tests.checker.__main__ import judge, main, only
from tests.checker.report import report
from tests.rooms.checker.ledgers import APP, DEVICES, NOTE, START, Ledgers, agreeing, arrival, pair


def printed(run: Ledgers) -> list[str]:
    violations, counts = judge(run.client, run.database, run.lab, slack=12.0)
    return list(report(run.client, run.database, run.lab, violations, counts))


def test_the_last_line_is_the_verdict():
    run = agreeing()
    assert printed(run)[-1] == "verdict: 3 ledgers agree"
    run.lab.arrivals[pair("plain")].append(arrival(9, "plain"))
    assert printed(run)[-1] == "verdict: 1 violation"


def test_the_first_violating_pair_is_printed_with_its_history_in_all_three_ledgers():
    run = agreeing()
    run.lab.arrivals[pair("cut")].append(arrival(9, "cut"))
    lines = "\n".join(printed(run))
    assert f"first: duplicate: {ids.text('dlv', pair('cut'))} 3 copies, 1 ambiguous attempts" in lines
    assert "register cut user user-cut token token-cut" in lines
    assert "attempt ambiguous (cut_off), batch 1 epoch 1" in lines
    assert "ended sent (accepted), 1 attempts, batch 1" in lines
    assert "entry 4: cut" in lines
    assert "entry 9: 200" in lines


def test_the_figures_of_a_run_are_counted():
    run = agreeing()
    counts = judge(run.client, run.database, run.lab, slack=12.0)[1]
    assert counts == {
        "notifications": 1,
        "deliveries": 6,
        "arrivals": 9,
        "copies": 2,
        "ambiguous": 2,
        "retried": 2,
        "cuts": 1,
        "kills": 1,
        "kills_that_hit": 1,
        "begun_at_kills": 1,
    }


def test_an_injection_that_was_stated_and_did_not_happen_is_named():
    run = agreeing()
    run.client.stated = {"kills_that_hit": 1, "fault:cut": 1, "cuts": 2, "fault:silent": 1}
    counts = judge(run.client, run.database, run.lab, slack=12.0)[1]
    assert totals.missing_injections(run.client, run.lab, counts) == [
        "cuts: stated at least 2, happened 1",
        "fault:silent: stated at least 1, happened 0",
    ]


def test_only_the_apps_asked_for_are_judged():
    run = agreeing()
    assert only(run.client, {APP}).requests == run.client.requests
    assert only(run.client, {bytes(16)}).changes == []
    assert only(run.client, {bytes(16)}).readings == []


def test_ids_are_read_as_they_are_written():
    for value in (APP, NOTE + DEVICES["plain"], bytes(16), b"\xff" * 32):
        assert ids.octets(ids.text("dlv", value), "dlv") == value


@pytest.mark.parametrize("text", ["dev_", "ntf_00000000000000000000000000", "dlv_" + "u" * 26, "dlv"])
def test_what_is_not_an_id_is_refused(text):
    with pytest.raises(ValueError, match="is not an id that begins with dlv_"):
        ids.octets(text, "dlv")


CLIENT_LINES = [
    {"op": "register", "at": 1.0, "external_id": "a", "user_id": "u", "provider": "fcm", "token": "t"},
    {"op": "logout", "at": 2.0, "external_id": "a"},
    {"op": "send", "at": 3.0, "key": "k", "body_sha256": "00", "to": {"all": True}, "ttl": 5, "status": 202},
    {"op": "send", "at": 3.5, "key": "k2", "body_sha256": "00", "to": {"all": True}, "status": None, "id": None},
    {"op": "read", "at": 4.0, "status": "completed", "progress": {"targeted": 0}},
    {"op": "cancel", "at": 4.0},
    {"op": "kill", "at": 4.0, "pid": 7, "begun": 3},
    {"op": "floors", "throttled": 1.0, "transient": 0.5},
    {"op": "stated", "injects": {"cuts": 3}},
]


def client_file(path, lines):
    app, note = ids.text("app", APP), ids.text("ntf", NOTE)
    path.write_text("".join(json.dumps({"app": app, "id": note, **line}) + "\n" for line in lines))
    return path


def test_the_clients_log_is_read_line_by_line(tmp_path):
    client = client_log.read(client_file(tmp_path / "client.jsonl", CLIENT_LINES))
    assert [change.what for change in client.changes] == ["register", "logout"]
    assert [(request.line, request.id) for request in client.requests] == [(3, NOTE), (4, None)]
    assert client.readings[0].id == NOTE
    assert client.kills[0].begun == 3
    assert client.cancelled == {NOTE}
    assert client.floors == {APP: {"throttled": 1.0, "transient": 0.5}}
    assert client.stated == {"cuts": 3}


def test_a_line_that_no_client_writes_is_named(tmp_path):
    path = client_file(tmp_path / "client.jsonl", [CLIENT_LINES[0], {"op": "dance"}])
    with pytest.raises(client_log.Unreadable, match="line 2: ValueError unknown op 'dance'"):
        client_log.read(path)


def test_the_labs_ledger_is_joined_by_delivery_or_by_token(tmp_path):
    entry = {
        "n": 1,
        "at": 1.0,
        "provider": "fcm",
        "connection": 3,
        "token": "t",
        "delivery": ids.text("dlv", pair("plain")),
        "status": 200,
        "code": None,
        "accepted": True,
        "retry_after": None,
        "fault": None,
    }
    path = tmp_path / "ledger.jsonl"
    path.write_text(json.dumps(entry) + "\n" + json.dumps({**entry, "n": 2, "delivery": None}) + "\n")
    lab = lab_log.read(path)
    assert [each.n for each in lab.arrivals[pair("plain")]] == [1]
    assert [each.n for each in lab.opaque["t"]] == [2]
    path.write_text('{"n": 1}\n')
    with pytest.raises(client_log.Unreadable, match="line 1: KeyError 'at'"):
        lab_log.read(path)


def test_a_ledger_that_cannot_be_read_is_no_verdict(tmp_path, capsys):
    missing = str(tmp_path / "none.jsonl")
    assert main(["--client", missing, "--dsn", "postgresql://127.0.0.1:1/none", "--lab", missing]) == 3
    assert "cannot read a ledger" in capsys.readouterr().err


def test_the_time_in_a_history_is_utc():
    run = agreeing()
    run.lab.arrivals[pair("plain")].append(arrival(9, "plain"))
    assert any("13:46:49.000 entry 9" in line for line in printed(run)), START
