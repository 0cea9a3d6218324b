"""What FCM is given: every field from our message, and fast splicing that equals slow serialising."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rooms.providers.stand_ins import options

from tocsin.providers.base import TooLarge
from tocsin.providers.fcm import translate
from tocsin.terms.handoffs import Message, Options
from tocsin.terms.outcomes import Class, OnAmbiguity

NOW = 1_795_435_200

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    ['"quoted" \\ back', "\u2028 and \u2029", "\x00\x01\x1f\x7f", "👩‍👩‍👧‍👦 🇫🇷", "\b\f\n\r\t/", ""]
)
messages = st.builds(
    Message,
    title=st.none() | text,
    body=st.none() | text,
    image=st.none() | text,
    link=st.none() | text | st.just("https://example.org/a?b=c"),
    data=st.dictionaries(text, text, max_size=4),
)
all_options = st.builds(
    Options,
    ttl=st.integers(0, 5_000_000),
    priority=st.sampled_from(["high", "normal"]),
    collapse_key=st.none() | text,
    on_ambiguity=st.just(OnAmbiguity.RESEND),
    lane_class=st.just(Class.NOW),
)


def composed(message: Message, chosen: Options | None = None, ttl: int = 3600) -> dict[str, Any]:
    body = translate.compose(message, chosen or options(), ttl, NOW, "tok", "dlv_1", "rcp")
    inner = body["message"]
    assert isinstance(inner, dict)
    return inner


@given(messages, all_options, text, text, text)
def test_splicing_gives_the_bytes_that_serialising_each_body_would(
    message: Message, chosen: Options, token: str, delivery: str, receipt: str
) -> None:
    compiled = translate.Body(message, chosen, chosen.ttl, NOW)
    slow = translate.compose(message, chosen, chosen.ttl, NOW, token, delivery, receipt)
    expected = json.dumps(slow, ensure_ascii=False, separators=(",", ":")).encode()
    assert compiled.fill(token, delivery, receipt) == expected


def test_all_that_a_message_says_is_in_the_body() -> None:
    message = Message(title="Hi", body="there", image="https://e.org/i.png", link="https://e.org/", data={"order": "7"})
    assert composed(message, options(priority="high", collapse_key="news")) == {
        "token": "tok",
        "notification": {"title": "Hi", "body": "there", "image": "https://e.org/i.png"},
        "data": {"order": "7", "link": "https://e.org/", "tocsin_delivery": "dlv_1", "tocsin_receipt": "rcp"},
        "android": {"collapse_key": "news", "priority": "HIGH", "ttl": "3600s"},
        "apns": {
            "headers": {
                "apns-priority": "10",
                "apns-expiration": str(NOW + 3600),
                "apns-collapse-id": "news",
            },
            "payload": {"aps": {"mutable-content": 1}},
        },
        "webpush": {
            "headers": {"TTL": "3600", "Urgency": "high", "Topic": "Gfug6ZW5eU_CwmIXvztyXC8Nnu2hZxn-"},
            "fcm_options": {"link": "https://e.org/"},
        },
    }


def test_absent_members_are_left_out() -> None:
    assert composed(Message(title="Hi")) == {
        "token": "tok",
        "notification": {"title": "Hi"},
        "data": {"tocsin_delivery": "dlv_1", "tocsin_receipt": "rcp"},
        "android": {"priority": "NORMAL", "ttl": "3600s"},
        "apns": {"headers": {"apns-priority": "5", "apns-expiration": str(NOW + 3600)}},
        "webpush": {"headers": {"TTL": "3600", "Urgency": "normal"}},
    }


def test_data_alone_wakes_an_iphone_in_the_background_and_never_with_priority_ten() -> None:
    body = composed(Message(data={"sync": "1"}), options(priority="high"))
    assert "notification" not in body
    assert body["apns"]["headers"]["apns-priority"] == "5"
    assert body["apns"]["payload"] == {"aps": {"content-available": 1}}
    assert body["android"]["priority"] == "HIGH"


@pytest.mark.parametrize(("ttl", "left", "expiration"), [(0, 0, 0), (-5, 0, 0), (9**9, 2_419_200, NOW + 2_419_200)])
def test_the_time_to_live_stays_within_what_fcm_takes(ttl: int, left: int, expiration: int) -> None:
    body = composed(Message(title="Hi"), ttl=ttl)
    assert body["android"]["ttl"] == f"{left}s"
    assert body["webpush"]["headers"]["TTL"] == str(left)
    assert body["apns"]["headers"]["apns-expiration"] == str(expiration)


def test_a_link_that_is_not_https_is_data_only() -> None:
    body = composed(Message(title="Hi", link="http://e.org/"))
    assert body["data"]["link"] == "http://e.org/"
    assert "fcm_options" not in body["webpush"]


def test_a_link_of_the_callers_data_stays_and_the_messages_own_goes_before_it() -> None:
    assert composed(Message(data={"link": "app://mine"}))["data"]["link"] == "app://mine"
    assert composed(Message(data={"link": "app://mine"}, link="https://e.org/"))["data"]["link"] == "https://e.org/"


@pytest.mark.parametrize("key", ["k" * 65, "ключ", "a\nb", " a", "emoji 🎉"])
def test_a_collapse_key_that_apns_could_not_take_is_digested(key: str) -> None:
    body = composed(Message(title="Hi"), options(collapse_key=key))
    digest = body["apns"]["headers"]["apns-collapse-id"]
    assert len(digest) == 32
    assert digest == body["webpush"]["headers"]["Topic"]
    assert body["android"]["collapse_key"] == key


def test_a_collapse_key_of_64_letters_reaches_apns_as_it_is() -> None:
    body = composed(Message(title="Hi"), options(collapse_key="k" * 64))
    assert body["apns"]["headers"]["apns-collapse-id"] == "k" * 64


def most_letters(letter: str) -> int:
    """The longest body text of this letter that passes at the door."""
    low, high = 0, 5000
    while low < high:
        middle = (low + high + 1) // 2
        try:
            translate.check(Message(title="t", body=letter * middle), options())
        except TooLarge:
            high = middle - 1
        else:
            low = middle
    return low


@pytest.mark.parametrize(("letter", "octets"), [("a", 1), ("é", 2), ("🎉", 4), ('"', 2)])
def test_what_passes_at_the_door_fits_every_device(letter: str, octets: int) -> None:
    most = most_letters(letter)
    compiled = translate.Body(Message(title="t", body=letter * most), options(), 60, NOW)
    filled = compiled.fill("t" * 200, "dlv_" + "z" * 52, "r" * 128)
    assert filled is not None
    inner = json.loads(filled)["message"]
    written = [json.dumps(inner[part], ensure_ascii=False, separators=(",", ":")) for part in ("notification", "data")]
    assert 4096 - octets < sum(len(part.encode()) for part in written) <= 4096


def test_the_refusal_says_by_how_much() -> None:
    with pytest.raises(TooLarge, match="the content is 1000 octets over what FCM takes: 4096 octets"):
        translate.check(Message(title="t", body="a" * (most_letters("a") + 1000)), options())


def test_a_device_whose_payload_is_over_the_limit_gets_none() -> None:
    message = Message(title="t" * 3900)
    compiled = translate.Body(message, options(), 60, NOW)
    assert compiled.fill("tok", "dlv_1", "short") is not None
    assert compiled.fill("tok", "dlv_1", "r" * 200) is None
