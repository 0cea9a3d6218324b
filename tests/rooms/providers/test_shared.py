"""What the adapters share: base64url, Retry-After, splicing, floors."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rooms.providers.stand_ins import START, answer, credential

from tocsin.providers import base64url, retry_after
from tocsin.providers.base import BadCredential, Limits, RetryFloors
from tocsin.providers.floors import declared, in_force
from tocsin.providers.reserved import DELIVERY
from tocsin.providers.splice import Spliced, quoted
from tocsin.terms.ids import new, show_delivery
from tocsin.terms.outcomes import Mode

PUBLISHED = Limits(4096, 100, RetryFloors(throttled=60.0, transient=10.0))


@given(st.binary(max_size=70))
def test_base64url_gives_back_what_it_was_given_padded_or_not(octets: bytes) -> None:
    text = base64url.encode(octets)
    assert "=" not in text
    assert base64url.decode(text) == octets
    assert base64url.decode(text + "=" * (-len(text) % 4)) == octets


@pytest.mark.parametrize("text", ["a", "abcde", "ab+/", "ab cd", "abcd\n", "ab=c", "abc===", "é"])
def test_what_is_not_base64url_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="base64url"):
        base64url.decode(text)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": " 120 "}, 120.0),
        ({"retry-after": "9999999"}, retry_after.LONGEST),
        ({"retry-after": "9" * 400}, retry_after.LONGEST),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "1.5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "é"}, None),
        ({"retry-after": "Mon, 23 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Mon, 23 Nov 2026 12:00:30 -0000"}, 30.0),
        ({"retry-after": "Mon, 23 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Tue, 23 Nov 2027 12:00:00 GMT"}, retry_after.LONGEST),
        ({"retry-after": "Mon, 23 Nov 99999 12:00:30 GMT"}, None),
        ({"retry-after": "Mon, 23 Nov 2026 13:00:30 GMT", "date": "Mon, 23 Nov 2026 13:00:00 GMT"}, 30.0),
        ({"retry-after": "Mon, 23 Nov 2026 12:00:30 GMT", "date": "today"}, 30.0),
    ],
)
def test_retry_after_is_read_in_seconds_or_as_a_date(headers: dict[str, str], seconds: float | None) -> None:
    told = answer(429, None, *((name.encode(), value.encode("latin-1")) for name, value in headers.items()))
    assert retry_after.seconds(told, START) == seconds


@given(st.binary(max_size=60))
def test_no_retry_after_brings_anybody_down(raw: bytes) -> None:
    seconds = retry_after.seconds(answer(503, None, (b"retry-after", raw)), datetime(2026, 1, 1, tzinfo=UTC))
    assert seconds is None or 0.0 <= seconds <= retry_after.LONGEST


text = st.text(st.characters(exclude_categories=["Cs"]))
awkward = text | st.sampled_from(
    ["\u2028\u2029", '"\\"', "\x00\x1f\x7f", "👩‍👩‍👧", "\b\f\n\r\t", "</script>", "é\u0301"]
)


@given(awkward, awkward, awkward)
def test_a_spliced_document_is_what_serialising_it_gives(first: str, second: str, constant: str) -> None:
    def build(one: str, two: str) -> dict[str, Any]:
        return {"one": one, "constant": {constant: constant}, "list": [two, 1, None]}

    spliced = Spliced(build, holes=2).fill(quoted(first), quoted(second))
    assert spliced == json.dumps(build(first, second), ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "build", [lambda a, b: [b, a], lambda a, b: [a, b, a], lambda a, b: [a], lambda a, b: [a, b, "x" + b]]
)
def test_holes_must_stand_once_and_in_order(build: Any) -> None:
    with pytest.raises(ValueError, match="in the order"):
        Spliced(build, holes=2)


def test_a_live_app_gets_the_published_floors_whatever_its_credential_declares() -> None:
    short = {"lab": {"retry_floors": {"throttled": 0.1, "transient": 0.1}}}
    assert in_force(credential("fcm", short, Mode.LIVE), PUBLISHED) == PUBLISHED
    test = in_force(credential("fcm", short, Mode.TEST), PUBLISHED)
    assert test == Limits(4096, 100, RetryFloors(0.1, 0.1))


@pytest.mark.parametrize("secret", [{}, {"lab": {}}, {"lab": {"retry_floors": {}}}])
def test_without_a_declaration_a_test_app_gets_the_published_floors(secret: dict[str, Any]) -> None:
    assert in_force(credential("fcm", secret), PUBLISHED) == PUBLISHED


def test_a_floor_may_be_declared_alone() -> None:
    assert declared({"lab": {"retry_floors": {"transient": 1}}}, PUBLISHED.floors) == RetryFloors(60.0, 1.0)


@pytest.mark.parametrize("wait", [-1, True, "1", None, float("nan"), float("inf")])
def test_a_floor_that_is_no_wait_is_refused(wait: Any) -> None:
    with pytest.raises(BadCredential, match=r"retry_floors\.transient"):
        declared({"lab": {"retry_floors": {"transient": wait}}}, PUBLISHED.floors)


@pytest.mark.parametrize("lab", [None, [], "x", {"retry_floors": []}, {"retry_floors": None}])
def test_floors_that_are_no_object_are_refused(lab: Any) -> None:
    with pytest.raises(BadCredential, match="must be an object"):
        declared({"lab": lab}, PUBLISHED.floors)


def test_the_room_kept_is_that_of_a_real_delivery_id() -> None:
    assert len(show_delivery(new(), new())) == len(DELIVERY)
