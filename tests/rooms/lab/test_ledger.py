"""The ledger holds a line for each request, numbered without a gap, and survives an end at any octet."""

import json
import os
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.lab.ledger import Ledger, Line, notification_of
from tocsin.terms import ids


def line(n, **changed):
    told = Line(
        at=1000.0 + n,
        provider="fcm",
        connection="c-1",
        token=f"t{n}",
        delivery=None,
        body_sha256="00",
        status=200,
        code=None,
        accepted=True,
        retry_after=None,
        fault=None,
        ref=None,
        early=False,
    )
    return told._replace(**changed)


def nothing(_):
    raise AssertionError("nothing to recall")


@given(st.uuids(version=4), st.uuids(version=4), st.integers(0, 2**48 - 1))
def test_the_notification_is_read_out_of_the_delivery_id(notification, device, at):
    stamped = uuid.UUID(int=notification.int & (1 << 80) - 1 | at << 80)
    assert notification_of(ids.show_delivery(stamped, device)) == ids.show(ids.NOTIFICATION, stamped)


@pytest.mark.parametrize("text", [None, "", "dlv_", "ntf_" + "0" * 52, "dlv_" + "u" * 52, "dlv_" + "0" * 51])
def test_what_is_no_delivery_id_has_no_notification(text):
    assert notification_of(text) is None


def test_nothing_is_in_the_file_before_the_flush_and_all_of_it_after(tmp_path):
    ledger = Ledger(tmp_path / "l", nothing)
    ledger.add(line(1))
    assert (tmp_path / "l").read_bytes() == b""
    ledger.flush()
    told = json.loads((tmp_path / "l").read_bytes())
    assert (told["n"], told["token"], told["status"], told["notification"]) == (1, "t1", 200, None)
    ledger.close()


def test_pages_follow_one_another_without_gap_or_overlap(tmp_path):
    ledger = Ledger(tmp_path / "l", nothing)
    for n in range(1, 1001):
        ledger.add(line(n))
    ledger.flush()
    seen, after = [], 0
    while page := ledger.after(after, 77):
        seen += [json.loads(text)["n"] for text in page]
        after = seen[-1]
    assert seen == list(range(1, 1001))
    assert ledger.after(5000, 10) == []
    ledger.close()


def test_a_torn_last_line_is_cut_off_and_the_numbers_go_on(tmp_path):
    path = tmp_path / "l"
    ledger = Ledger(path, nothing)
    for n in range(1, 301):
        ledger.add(line(n))
    ledger.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"n":301,"at":1')
    ledger = Ledger(path, nothing)
    ledger.add(line(301))
    ledger.close()
    assert path.read_bytes().startswith(whole)
    assert [json.loads(text)["n"] for text in path.read_bytes().splitlines()] == list(range(1, 302))


def test_lines_that_tell_of_a_fault_are_recalled_at_the_next_start(tmp_path):
    ledger = Ledger(tmp_path / "l", nothing)
    ledger.add(line(1))
    ledger.add(line(2, fault="error-once", status=500))
    ledger.close()
    recalled: list[dict[str, Any]] = []
    Ledger(tmp_path / "l", recalled.append).close()
    assert [told["token"] for told in recalled] == ["t2"]


def test_a_disk_that_takes_only_a_part_at_once_gets_it_all(tmp_path, monkeypatch):
    ledger = Ledger(tmp_path / "l", nothing)
    for n in range(1, 5):
        ledger.add(line(n))
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, octets: write(file, octets[:100]))
    ledger.flush()
    assert [json.loads(text)["n"] for text in ledger.after(0, 10)] == [1, 2, 3, 4]
    ledger.close()
