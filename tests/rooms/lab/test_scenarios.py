"""A magic token goes through its scenario once for each delivery, whatever other tokens do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.lab import scenarios as module
from tocsin.lab.scenarios import Act, Decision, Scenarios
from tocsin.lab.state import recall
from tocsin.lab.tokens import Marker


def decide(store, name, now, seconds=None, delivery="dlv_a", token="t"):
    return store.decide(Marker(name, seconds), token, delivery, now)


@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("ok", Act.ACCEPT),
        ("dead", Act.DEAD),
        ("gone", Act.GONE),
        ("bad", Act.BAD),
        ("mismatch", Act.MISMATCH),
        ("busy", Act.BUSY),
        ("silent", Act.SILENT),
        ("third-party", Act.THIRD_PARTY),
        ("apns-dead", Act.APNS_DEAD),
        ("revoked", Act.REVOKED),
        ("too-large", Act.TOO_LARGE),
    ],
)
def test_some_tokens_do_the_same_each_time(name, act):
    store = Scenarios()
    assert [decide(store, name, now).act for now in (0.0, 10.0, 1000.0)] == [act] * 3


def test_an_ordinary_token_is_accepted():
    assert Scenarios().decide(None, "t", None, 0.0) == Decision(Act.ACCEPT)


def test_a_slow_token_is_accepted_later():
    assert decide(Scenarios(), "slow", 0.0, 3.0) == Decision(Act.ACCEPT, None, 3.0)


def test_a_throttled_token_opens_when_its_seconds_are_over_and_not_before():
    store = Scenarios()
    assert decide(store, "throttled", 100.0, 2.0) == Decision(Act.THROTTLE, 2)
    assert decide(store, "throttled", 101.5, 2.0) == Decision(Act.THROTTLE, 1)
    assert decide(store, "throttled", 102.0, 2.0).act is Act.ACCEPT


def test_a_throttled_token_without_a_time_opens_after_the_declared_floor():
    store = Scenarios()
    assert decide(store, "throttled-bare", 100.0) == Decision(Act.THROTTLE)
    assert decide(store, "throttled-bare", 100.9) == Decision(Act.THROTTLE)
    assert decide(store, "throttled-bare", 101.0).act is Act.ACCEPT


@pytest.mark.parametrize(
    ("name", "first"),
    [("error-once", Decision(Act.ERROR)), ("busy-once", Decision(Act.BUSY, 1)), ("cut", Decision(Act.CUT))],
)
def test_what_happens_once_happens_once_for_each_delivery(name, first):
    store = Scenarios()
    for delivery in ("dlv_a", "dlv_b", None):
        assert decide(store, name, 0.0, 1.0, delivery) == first
        assert decide(store, name, 0.0, 1.0, delivery).act is Act.ACCEPT
    assert decide(store, name, 0.0, 1.0, "dlv_a", token="another") == first


@given(st.integers(0, 3600), st.floats(0, 7200))
def test_a_request_is_early_exactly_while_the_wait_it_was_asked_for_lasts(seconds, passed):
    store = Scenarios()
    store.answered("t", "d", 1000.0, 429, seconds)
    assert store.early("t", "d", 1000.0 + passed) == (1000.0 + passed < 1000.0 + seconds)
    assert not store.early("t", "d", 1000.0), "a wait is judged once"


@pytest.mark.parametrize(("status", "floor"), [(429, 1.0), (500, 0.5), (503, 0.5)])
def test_without_retry_after_the_declared_floor_is_the_wait(status, floor):
    store = Scenarios()
    store.answered("t", None, 10.0, status, None)
    assert store.early("t", None, 10.0 + floor - 0.01)
    store.answered("t", None, 10.0, status, None)
    assert not store.early("t", None, 10.0 + floor)


def test_what_the_ledger_tells_is_not_gone_through_again():
    store = Scenarios()
    store.recall("t", "dlv_a", 100.0)
    store.recall("t", "dlv_a", 200.0)
    assert decide(store, "throttled", 101.0, 2.0) == Decision(Act.THROTTLE, 1)
    assert decide(store, "error-once", 101.0).act is Act.ACCEPT


def told(**changed):
    return {"token": "t", "delivery": "dlv_a", "at": 100.0, "status": 429, "fault": "x", "retry_after": 5, **changed}


def test_a_ledger_line_tells_of_a_wait_and_only_a_magic_token_of_a_turn():
    store = Scenarios()
    for line in (told(token=None), told(fault="cut", status="cut", at=90.0), told()):
        recall(store, line)
    assert store.early("t", "dlv_a", 104.9)
    assert decide(store, "cut", 200.0).act is Act.ACCEPT
    recall(store, told(status=401))
    assert not store.early("t", "dlv_a", 104.9), "a 401 asks for no wait"


def test_the_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "_KEPT", 3)
    store = Scenarios()
    for n in range(5):
        assert decide(store, "cut", 0.0, delivery=str(n)).act is Act.CUT
    assert decide(store, "cut", 0.0, delivery="4").act is Act.ACCEPT
    assert decide(store, "cut", 0.0, delivery="0").act is Act.CUT, "the oldest was forgotten"
