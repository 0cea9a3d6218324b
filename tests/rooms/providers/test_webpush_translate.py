"""What a service worker reads and what a push service is told."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rooms.providers.stand_ins import options

from tocsin.providers.base import TooLarge
from tocsin.providers.webpush import translate
from tocsin.terms.handoffs import Message

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    ['"quoted" \\ back', "\u2028 and \u2029", "\x00\x01\x1f\x7f", "👩\u200d👩\u200d👧 🇫🇷", "\b\f\n\r\t/", ""]
)
messages = st.builds(
    Message,
    title=st.none() | text,
    body=st.none() | text,
    image=st.none() | text,
    link=st.none() | text,
    data=st.dictionaries(text, text, max_size=4),
)


@given(messages, text, text)
def test_splicing_gives_the_bytes_that_serialising_each_text_would(
    message: Message, delivery: str, receipt: str
) -> None:
    slow = translate.compose(message, delivery, receipt)
    expected = json.dumps(slow, ensure_ascii=False, separators=(",", ":")).encode()
    assert translate.Plaintext(message).fill(delivery, receipt) == expected


def test_all_that_a_message_says_is_in_the_text() -> None:
    message = Message("Hi", "there", "https://e.org/i.png", "https://e.org/", {"order": "7"})
    assert translate.compose(message, "dlv_1", "rcp") == {
        "title": "Hi",
        "body": "there",
        "image": "https://e.org/i.png",
        "link": "https://e.org/",
        "data": {"order": "7"},
        "tocsin": {"delivery": "dlv_1", "receipt": "rcp"},
    }


def test_absent_members_are_left_out() -> None:
    assert translate.compose(Message(title="Hi"), "dlv_1", "rcp") == {
        "title": "Hi",
        "tocsin": {"delivery": "dlv_1", "receipt": "rcp"},
    }


def test_a_push_service_is_told_time_to_live_urgency_and_topic() -> None:
    assert dict(translate.headers(options(priority="high", collapse_key="news"), 60)) == {
        b"content-encoding": b"aes128gcm",
        b"content-type": b"application/octet-stream",
        b"ttl": b"60",
        b"urgency": b"high",
        b"topic": b"Gfug6ZW5eU_CwmIXvztyXC8Nnu2hZxn-",
    }
    plain = dict(translate.headers(options(), 60))
    assert plain[b"urgency"] == b"normal"
    assert b"topic" not in plain


@pytest.mark.parametrize(("ttl", "told"), [(-1, b"0"), (0, b"0"), (2_419_200, b"2419200"), (9**9, b"2419200")])
def test_the_time_to_live_stays_within_what_every_vendor_keeps(ttl: int, told: bytes) -> None:
    assert dict(translate.headers(options(), ttl))[b"ttl"] == told


@given(text)
def test_a_topic_is_always_one_that_apple_can_decode(collapse_key: str) -> None:
    assert re.fullmatch(rb"[A-Za-z0-9_-]{32}", translate.topic(collapse_key))


def test_two_collapse_keys_are_two_topics() -> None:
    assert translate.topic("a") != translate.topic("b")


def room(letter: str) -> int:
    """Letters of a body text that pass at the door, at most."""
    low, high = 0, 5000
    while low < high:
        middle = (low + high + 1) // 2
        try:
            translate.check(Message(body=letter * middle))
        except TooLarge:
            high = middle - 1
        else:
            low = middle
    return low


@pytest.mark.parametrize(("letter", "octets"), [("a", 1), ("é", 2), ("🎉", 4), ('"', 2)])
def test_what_passes_at_the_door_fits_every_device(letter: str, octets: int) -> None:
    filled = translate.Plaintext(Message(body=letter * room(letter))).fill("dlv_" + "z" * 52, "r" * 128)
    assert filled is not None
    assert 3993 - octets < len(filled) <= 3993


def test_the_refusal_says_by_how_much() -> None:
    with pytest.raises(TooLarge, match="the content is 10 octets over what Web Push takes: 3993 octets"):
        translate.check(Message(body="a" * (room("a") + 10)))


def test_a_device_whose_text_is_over_the_limit_gets_none() -> None:
    plaintext = translate.Plaintext(Message(body="x" * 3800))
    assert plaintext.fill("dlv_1", "short") is not None
    assert plaintext.fill("dlv_1", "r" * 200) is None
