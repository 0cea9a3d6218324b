"""Subscriptions of the lab are derived, not stored: the same seed finds them again, and memory stays bounded."""

import pytest

from tocsin.lab.accounts import b64url, from_b64url
from tocsin.lab.webpush import synthetic as module
from tocsin.lab.webpush import vapid as vapid_module
from tocsin.lab.webpush.synthetic import Synthetics, as_json, tag_of
from tocsin.lab.webpush.vapid import Vapid

KEY = "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs"
SEED = bytes(32)


def test_a_subscription_is_found_again_by_its_name_alone():
    made = Synthetics(SEED).make("throttled", 30, "apple", KEY)
    found = Synthetics(SEED).find(made.name)
    assert found is not None
    assert (found.public, found.secret, found.flavour, found.marker) == (made.public, made.secret, "apple", made.marker)
    assert found.vapid_tag == tag_of(from_b64url(KEY))
    assert (found.marker.scenario, found.marker.seconds) == ("throttled", 30.0) if found.marker else False


def test_another_lab_does_not_know_it_and_a_changed_name_is_nobodys():
    made = Synthetics(SEED).make("ok", None, "mozilla", KEY)
    assert Synthetics(bytes(31) + b"x").find(made.name) is None
    assert Synthetics(SEED).find(made.name.replace("lab-ok", "lab-dead")) is None


def test_it_is_shown_as_a_browser_shows_it():
    made = Synthetics(SEED).make("ordinary", None, "fcm", KEY)
    shown = as_json(made, "https://x/" + made.name)
    assert made.name.startswith("sub.f.")
    assert (len(from_b64url(shown["keys"]["p256dh"])), len(from_b64url(shown["keys"]["auth"]))) == (65, 16)
    assert b64url(made.public) == shown["keys"]["p256dh"]


@pytest.mark.parametrize(
    ("asked", "words"), [(("ok", None, "opera", KEY), "flavour"), (("ok", None, "fcm", "x"), "vapid")]
)
def test_what_cannot_be_made_is_refused_by_member(asked, words):
    with pytest.raises(ValueError, match=words):
        Synthetics(SEED).make(*asked)


def test_the_memory_of_subscriptions_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "_KNOWN", 3)
    store = Synthetics(SEED)
    made = [store.make("ok", None, "mozilla", KEY) for _ in range(5)]
    assert all(store.find(one.name) for one in made)
    assert len(store._known) == 3


def test_the_memory_of_identifications_is_bounded(monkeypatch):
    monkeypatch.setattr(vapid_module, "_KNOWN", 3)
    identity = vapid_module.Identity(b"", 100.0)
    monkeypatch.setattr(vapid_module, "verify", lambda *_: identity)
    vapid = Vapid()
    for n in range(5):
        assert vapid.check(f"vapid t={n}, k=k", set(), 0.0) is identity
    assert len(vapid._good) == 3
