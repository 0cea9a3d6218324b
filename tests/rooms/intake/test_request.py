"""What a caller may ask for."""

import json

import pytest

from tocsin.intake.request import NotificationRequest, recalled_options, stored_options
from tocsin.terms.errors import Refused
from tocsin.terms.handoffs import Message, Options, Target
from tocsin.terms.outcomes import Class, OnAmbiguity
from tocsin.web.bodies import validate

SMALLEST = {"to": {"user": "u1"}, "content": {"title": "Hi"}}


def read(**changes):
    return validate(NotificationRequest, json.dumps(SMALLEST | changes).encode())


def test_the_smallest_request_means_the_documented_defaults():
    request = read()
    assert request.to.target() == Target(users=("u1",))
    assert request.content.message() == Message(title="Hi")
    assert request.chosen() == Options(2_419_200, "high", None, OnAmbiguity.RESEND, Class.NOW)


def test_a_whole_request_is_taken_as_it_is():
    request = read(
        to={"device": "d1", "devices": ["d2", "d1"], "user": "u1", "users": ["u2", "u2"]},
        content={
            "title": "T",
            "body": "B",
            "image": "https://example.com/a.png",
            "link": "https://example.com:8443/x?y=1#z",
            "data": {"k": "v"},
        },
        ttl=0,
        priority="normal",
        collapse_key="c",
        options={"on_ambiguity": "drop", "class": "bulk"},
    )
    assert request.to.target() == Target(users=("u1", "u2"), devices=("d1", "d2"))
    assert request.content.message() == Message(
        "T", "B", "https://example.com/a.png", "https://example.com:8443/x?y=1#z", {"k": "v"}
    )
    assert request.chosen() == Options(0, "normal", "c", OnAmbiguity.DROP, Class.BULK)


def test_a_notification_to_all_is_bulk():
    assert read(to={"all": True}).chosen().lane_class is Class.BULK
    assert read(to={"all": True}, options={"class": "bulk"}).to.target() == Target(all=True)


def test_options_come_back_from_their_row_as_they_were():
    options = Options(60, "normal", "c", OnAmbiguity.DROP, Class.BULK)
    assert recalled_options(json.loads(json.dumps(stored_options(options)))) == options


@pytest.mark.parametrize(
    ("changes", "code", "where"),
    [
        ({"to": {}}, "invalid_field", "/to"),
        ({"to": {"all": True, "user": "u"}}, "invalid_field", "/to"),
        ({"to": {"all": False}}, "invalid_field", "/to/all"),
        ({"to": {"devices": []}}, "invalid_field", "/to/devices"),
        ({"to": {"device": ""}}, "invalid_field", "/to/device"),
        ({"to": {"user": "u" * 201}}, "invalid_field", "/to/user"),
        ({"to": {"devices": [f"d{n}" for n in range(1001)]}}, "invalid_field", "/to/devices"),
        ({"to": {"devices": [f"d{n}" for n in range(1000)], "user": "u"}}, "invalid_field", "/to"),
        ({"to": "u1"}, "invalid_field", "/to"),
        ({"to": {"usr": "u1"}}, "unknown_field", "/to/usr"),
        ({"content": {}}, "invalid_field", "/content"),
        ({"content": {"image": "https://example.com/a.png"}}, "invalid_field", "/content"),
        ({"content": {"title": "x", "image": "http://example.com/a.png"}}, "invalid_field", "/content/image"),
        ({"content": {"title": "x", "link": "javascript:alert(1)"}}, "invalid_field", "/content/link"),
        ({"content": {"title": "x", "link": "https://user:pw@example.com/"}}, "invalid_field", "/content/link"),
        ({"content": {"title": "x", "link": "https://"}}, "invalid_field", "/content/link"),
        ({"content": {"title": "x", "link": "https://example.com:99999/"}}, "invalid_field", "/content/link"),
        ({"content": {"title": "x", "link": "https://[::1/"}}, "invalid_field", "/content/link"),
        ({"content": {"title": "x", "link": "https://example.com/a b"}}, "invalid_field", "/content/link"),
        ({"content": {"title": "x", "link": "https://example.com/\n"}}, "invalid_field", "/content/link"),
        ({"content": {"data": {"from": "x"}}}, "invalid_field", "/content/data/from"),
        ({"content": {"data": {"google.x": "x"}}}, "invalid_field", "/content/data/google.x"),
        ({"content": {"data": {"gcm.notification.x": "x"}}}, "invalid_field", "/content/data/gcm.notification.x"),
        ({"content": {"data": {"tocsin_x": "x"}}}, "invalid_field", "/content/data/tocsin_x"),
        ({"content": {"data": {"k": 5}}}, "invalid_field", "/content/data/k"),
        ({"ttl": -1}, "invalid_field", "/ttl"),
        ({"ttl": 2_419_201}, "invalid_field", "/ttl"),
        ({"ttl": "60"}, "invalid_field", "/ttl"),
        ({"ttl": 1.5}, "invalid_field", "/ttl"),
        ({"priority": "urgent"}, "invalid_field", "/priority"),
        ({"collapse_key": "c" * 65}, "invalid_field", "/collapse_key"),
        ({"options": {"on_ambiguity": "guess"}}, "invalid_field", "/options/on_ambiguity"),
        ({"to": {"all": True}, "options": {"class": "now"}}, "invalid_field", ""),
        ({"on_ambiguity": "drop"}, "unknown_field", "/on_ambiguity"),
    ],
)
def test_a_request_that_cannot_be_meant_is_refused_with_its_place(changes, code, where):
    with pytest.raises(Refused) as refused:
        read(**changes)
    assert (refused.value.code, refused.value.pointer) == (code, where)
