"""A fault strikes what its rule says, as often as it says, and the same with the same seed."""

import pytest

from tocsin.lab.faults import KINDS, BadRule, Faults
from tocsin.lab.fcm.quota import Quota


def strikes(faults, times, provider="fcm", h2=True, now=0.0):
    return [faults.strike(provider, h2, now) is not None for _ in range(times)]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_rule_with_a_count_strikes_so_often_and_is_counted(kind):
    faults = Faults()
    rule = faults.add({"kind": kind, "count": 3}, 0.0)
    assert strikes(faults, 5) == [True] * 3 + [False] * 2
    assert (faults.injected[kind], rule.shown()["injected"], rule.shown()["left"]) == (3, 3, 0)


def test_the_same_seed_strikes_the_same_requests():
    def pattern(seed):
        faults = Faults()
        faults.add({"kind": "cut", "probability": 0.3, "seed": seed}, 0.0)
        return strikes(faults, 400)

    assert pattern(7) == pattern(7) != pattern(8)
    assert 80 < sum(pattern(7)) < 160


def test_a_rule_strikes_within_its_window_only():
    faults = Faults()
    faults.add({"kind": "error", "after_seconds": 5, "for_seconds": 10}, 100.0)
    assert [strikes(faults, 1, now=now)[0] for now in (104.9, 105.0, 114.9, 115.0)] == [False, True, True, False]


def test_a_rule_strikes_its_provider_only_and_the_next_rule_has_its_turn():
    faults = Faults()
    faults.add({"kind": "error", "name": "a", "provider": "webpush"}, 0.0)
    faults.add({"kind": "cut", "name": "b"}, 0.0)
    struck = [faults.strike(provider, True, 0.0) for provider in ("fcm", "webpush", "oauth")]
    assert [rule and rule.name for rule in struck] == ["b", "a", "b"]


@pytest.mark.parametrize("kind", ["goaway", "refuse"])
def test_what_only_http2_can_say_strikes_http2_only(kind):
    faults = Faults()
    faults.add({"kind": kind}, 0.0)
    assert faults.strike("fcm", False, 0.0) is None
    assert faults.strike("fcm", True, 0.0) is not None


def test_a_rule_replaces_its_namesake_and_is_removed_by_name():
    faults = Faults()
    faults.add({"kind": "error", "name": "x"}, 0.0)
    faults.add({"kind": "cut", "name": "x"}, 0.0)
    faults.add({"kind": "cut"}, 0.0)
    assert [(rule.name, rule.kind) for rule in faults.rules] == [("x", "cut"), ("cut-3", "cut")]
    assert faults.remove("x") == 1
    assert faults.remove(None) == 1
    assert faults.rules == []


def test_a_latency_rule_adds_time_within_its_bounds():
    rule = Faults().add({"kind": "latency", "latency_ms": [200, 300]}, 0.0)
    assert all(0.2 <= rule.extra_delay() <= 0.3 for _ in range(50))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "a rule is an object"),
        ({"kind": "explode"}, "kind: expected one of cut"),
        ({"kind": "cut", "probabilty": 1}, "probabilty: no such member"),
        ({"kind": "cut", "probability": 1.5}, "probability: expected a number from 0 to 1"),
        ({"kind": "cut", "probability": True}, "probability"),
        ({"kind": "cut", "count": 0}, "count: expected a whole number from 1"),
        ({"kind": "cut", "provider": "apns"}, "provider: expected one of fcm"),
        ({"kind": "cut", "name": ""}, "name: expected a text"),
        ({"kind": "latency", "latency_ms": [5, 1]}, "latency_ms"),
        ({"kind": "latency", "latency_ms": 5}, "latency_ms"),
        ({"kind": "cut", "after_seconds": -1}, "after_seconds"),
    ],
)
def test_a_rule_that_cannot_be_one_is_refused_by_member(given, words):
    with pytest.raises(BadRule, match=words):
        Faults().add(given, 0.0)


def test_a_quota_is_full_again_when_its_minute_is_over_and_not_before():
    quota = Quota(3)
    assert [quota.take(100.0) for _ in range(3)] == [None] * 3
    assert quota.take(100.5) == 60
    assert quota.take(159.5) == 1
    assert [quota.take(160.0) for _ in range(4)] == [None, None, None, 60]
