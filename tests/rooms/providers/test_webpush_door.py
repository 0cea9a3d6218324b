"""What Web Push takes at the door: subscriptions and VAPID keys, and which place each mode reaches."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rooms.providers.browser import (
    AUTH,
    LAB_ENDPOINT,
    b64,
    browser_key,
    point,
    subscription,
    vapid_account,
    vapid_key,
)
from tests.rooms.providers.stand_ins import LAB, FakeWire, HandClock, answer, credential, options

from tocsin.providers.base import Address, BadCredential, BadToken, RetryFloors, TooLarge
from tocsin.providers.webpush import WebPush, WebPushSettings
from tocsin.providers.webpush.vapid import VapidKeys
from tocsin.terms.handoffs import Message
from tocsin.terms.outcomes import Mode
from tocsin.wire.endings import Origin

WIRE = FakeWire(lambda call: answer(201))
PUSH = WebPush(WebPushSettings(lab=LAB), {Mode.TEST: WIRE, Mode.LIVE: WIRE}, HandClock())
NO_LAB = WebPush(WebPushSettings(), {Mode.LIVE: WIRE}, HandClock())
REAL = "https://updates.push.services.mozilla.com/wpush/v2/abc"
KEYS = {"p256dh": b64(point(browser_key())), "auth": b64(AUTH)}


def test_a_subscription_is_kept_as_its_endpoint_and_two_keys() -> None:
    assert PUSH.check_token(None, subscription(), Mode.TEST) == Address(LAB_ENDPOINT, KEYS)
    assert PUSH.check_token(None, subscription(REAL), Mode.LIVE) == Address(REAL, KEYS)


def test_padded_keys_are_kept_without_padding() -> None:
    padded = subscription(p256dh=KEYS["p256dh"] + "=", auth=KEYS["auth"] + "==")
    assert PUSH.check_token(None, padded, Mode.TEST).keys == KEYS


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "must be an object"),
        ("https://e.org/", "must be an object"),
        ({}, "endpoint must be text"),
        ({**subscription(), "endpoint": 7}, "endpoint must be text"),
        ({**subscription(), "keys": None}, "keys must be an object"),
        (subscription(p256dh=None), "p256dh is missing"),
        (subscription(p256dh="!"), "p256dh is not base64url"),
        (subscription(p256dh=b64(b"\x04" * 33)), "p256dh must be 65 octets, this one has 33"),
        (subscription(p256dh=b64(b"\x04" + b"\x01" * 64)), "no point of the curve"),
        (subscription(p256dh=b64(b"\x05" + point(browser_key())[1:])), "no point of the curve"),
        (subscription(auth=b64(b"short")), "auth must be 16 octets, this one has 5"),
        (subscription(auth=[]), "auth is missing"),
        (subscription("https://localhost:9444/wpush/v2/abc"), "endpoint"),
        (subscription("http://localhost:9443/wpush/v2/abc"), "https"),
        (subscription(REAL), "must be of its lab, https://localhost:9443"),
        (subscription("https://user@localhost:9443/"), "endpoint"),
    ],
)
def test_what_is_no_subscription_is_refused_in_clear_words(given: Any, words: str) -> None:
    with pytest.raises(BadToken, match=words):
        PUSH.check_token(None, given, Mode.TEST)


def test_a_token_is_no_subscription() -> None:
    with pytest.raises(BadToken, match="no token"):
        PUSH.check_token("token", subscription(), Mode.TEST)


@pytest.mark.parametrize(
    "endpoint",
    [
        LAB_ENDPOINT,
        "https://localhost/",
        "https://127.0.0.1/",
        "https://10.1.2.3/push",
        "https://[::1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://push.example.com:8443/",
        "http://push.example.org/",
        "https://user:password@push.example.org/",
        "ftp://push.example.org/",
        "https://push.example.org/a b",
        "https:///nowhere",
    ],
)
def test_a_live_app_takes_no_endpoint_off_the_public_internet(endpoint: str) -> None:
    with pytest.raises(BadToken, match=r"subscription\.endpoint"):
        PUSH.check_token(None, subscription(endpoint), Mode.LIVE)


def test_a_live_app_takes_no_endpoint_of_a_lab_with_a_public_name() -> None:
    push = WebPush(WebPushSettings(lab=Origin("lab.example.com")), {Mode.LIVE: WIRE}, HandClock())
    with pytest.raises(BadToken, match="only test apps reach"):
        push.check_token(None, subscription("https://lab.example.com/wpush/v2/abc"), Mode.LIVE)
    assert push.check_token(None, subscription("https://lab.example.com/wpush/v2/abc"), Mode.TEST)


def test_without_a_lab_a_test_app_gets_neither_subscription_nor_credential() -> None:
    with pytest.raises(BadToken, match="no lab is configured"):
        NO_LAB.check_token(None, subscription(), Mode.TEST)
    with pytest.raises(BadCredential, match="no lab is configured"):
        NO_LAB.check_credential(vapid_account(), Mode.TEST)
    assert NO_LAB.check_token(None, subscription(REAL), Mode.LIVE).token == REAL


def test_a_live_endpoint_is_guarded_when_it_is_called() -> None:
    settings = WebPushSettings(lab=LAB)
    assert settings.locate(REAL, Mode.LIVE).origin == Origin("updates.push.services.mozilla.com", 443, guarded=True)
    assert settings.locate(LAB_ENDPOINT + "?a=b", Mode.TEST) == (LAB, b"/wpush/v2/abc?a=b")


def test_a_vapid_pair_shows_its_public_part_only() -> None:
    public = {"public_key": b64(point(vapid_key())), "subject": "mailto:ops@example.org"}
    for mode in Mode:
        assert PUSH.check_credential(vapid_account(), mode) == public
    padded = vapid_account(public_key=public["public_key"] + "=", subject="https://example.org/contact")
    assert PUSH.check_credential(padded, Mode.LIVE) == {**public, "subject": "https://example.org/contact"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"public_key": None}, "public_key is missing"),
        ({"public_key": "+/"}, "public_key is not base64url"),
        ({"public_key": b64(b"x" * 64)}, "public_key must be 65 octets"),
        ({"public_key": b64(point(browser_key()))}, "does not belong to private_key"),
        ({"private_key": 5}, "private_key is missing"),
        ({"private_key": b64(b"x" * 31)}, "private_key must be 32 octets"),
        ({"private_key": b64(b"\x00" * 32)}, "no scalar of the curve"),
        ({"private_key": b64(b"\xff" * 32)}, "no scalar of the curve"),
        ({"subject": None}, "subject must be"),
        ({"subject": "ops@example.org"}, "subject must be"),
        ({"subject": "mailto: <ops@example.org>"}, "subject must be"),
        ({"subject": "mailto:ops"}, "subject must be"),
        ({"subject": "http://example.org"}, "subject must be"),
        ({"subject": "https://"}, "subject must be"),
        ({"subject": "https://example.org/\x00"}, "subject must be"),
        ({"lab": {"retry_floors": {"throttled": -1}}}, r"retry_floors\.throttled"),
    ],
)
def test_what_is_no_vapid_pair_is_refused_in_clear_words(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadCredential, match=words) as refused:
        PUSH.check_credential(vapid_account(**changes), Mode.TEST)
    assert vapid_account()["private_key"] not in str(refused.value)


def test_live_apps_get_the_published_floors() -> None:
    live = PUSH.limits(credential("webpush", vapid_account(), Mode.LIVE))
    assert (live.payload, live.ttl_max, live.floors) == (3993, 2_419_200, RetryFloors(60.0, 10.0))
    assert PUSH.limits(credential("webpush", vapid_account())).floors == RetryFloors(1.0, 0.5)


def test_a_message_that_can_never_fit_is_refused_at_the_door() -> None:
    PUSH.check_message(Message(body="x" * 3000), options())
    with pytest.raises(TooLarge, match="3993"):
        PUSH.check_message(Message(body="x" * 4000), options())


def test_the_key_is_not_shown() -> None:
    assert "private_key" not in repr(VapidKeys.read(vapid_account()))


anything = st.none() | st.integers() | st.text(max_size=30) | st.lists(st.none(), max_size=1)


@given(anything | st.dictionaries(st.sampled_from(["endpoint", "keys"]), anything | st.just(KEYS) | st.just(REAL)))
def test_anything_is_taken_or_refused_and_nothing_else(given: Any) -> None:
    try:
        address = PUSH.check_token(None, given, Mode.LIVE)
    except BadToken:
        return
    assert (address.token, address.keys) == (REAL, KEYS)
