"""Every answer of the push services and what it means, by status and by the vendors' own codes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rooms.providers.stand_ins import START, answer, same

from tocsin.providers.base import (
    CredentialFault,
    DeadToken,
    NotSent,
    Refused,
    Taken,
    Throttled,
    Transient,
    Unknown,
    Verdict,
)
from tocsin.providers.webpush.verdicts import known, verdict
from tocsin.terms.errors import outcome
from tocsin.wire.endings import Ambiguous, Ending, Unsent


def mozilla(status: int, errno: Any, *headers: tuple[bytes, bytes]) -> Ending:
    return answer(status, {"code": status, "errno": errno, "error": "x", "message": "y"}, *headers)


def apple(status: int, reason: Any) -> Ending:
    return answer(status, {"reason": reason})


TABLE: list[tuple[Ending, Verdict]] = [
    (answer(201, None, (b"location", b"https://e.org/m/1"), (b"ttl", b"60")), Taken("https://e.org/m/1")),
    (answer(201, None, (b"apns-id", b"A-1")), Taken("A-1")),
    (answer(200), Taken(None)),
    (answer(202, None, (b"location", b"/m/2")), Taken("/m/2")),
    (answer(201, None, (b"location", b"x" * 513)), Taken(None)),
    (answer(201, None, (b"location", b"\xff")), Taken(None)),
    (answer(201, None, (b"location", b"a\x00b")), Taken(None)),
    (answer(201, None, (b"x-wns-status", b"received")), Taken(None)),
    (answer(201, None, (b"x-wns-status", b"channelthrottled")), Throttled("channelthrottled")),
    (mozilla(410, 103), DeadToken("410 errno 103")),
    (mozilla(410, 106), DeadToken("410 errno 106")),
    (mozilla(404, 102), DeadToken("404 errno 102")),
    (answer(410, b"push subscription has unsubscribed or expired.\n"), DeadToken("410")),
    (answer(404), DeadToken("404")),
    (apple(410, "Unregistered"), DeadToken("410 Unregistered")),
    (apple(404, "BadPath"), Refused("invalid_token", "404 BadPath")),
    (mozilla(401, 109), CredentialFault("401 errno 109")),
    (answer(401), CredentialFault("401")),
    (answer(403, b"the VAPID credentials do not correspond"), Refused("sender_mismatch", "403")),
    (apple(403, "BadJwtToken"), CredentialFault("403 BadJwtToken")),
    (apple(403, "BadVapidPublicKey"), CredentialFault("403 BadVapidPublicKey")),
    (apple(403, "BadAuthorizationHeader"), CredentialFault("403 BadAuthorizationHeader")),
    (apple(403, "VapidPkHashMismatch"), Refused("sender_mismatch", "403 VapidPkHashMismatch")),
    (apple(400, "VapidPkHashMismatch"), Refused("sender_mismatch", "400 VapidPkHashMismatch")),
    (mozilla(400, 110), Refused("invalid_payload", "400 errno 110")),
    (mozilla(400, 111), Refused("invalid_payload", "400 errno 111")),
    (mozilla(400, 113), Refused("invalid_payload", "400 errno 113")),
    (mozilla(400, 108), Refused("invalid_payload", "400 errno 108")),
    (mozilla(400, True), Refused("invalid_payload", "400")),
    (mozilla(400, [108]), Refused("invalid_payload", "400")),
    (apple(400, "BadWebPushTopic"), Refused("invalid_payload", "400 BadWebPushTopic")),
    (apple(400, ""), Refused("invalid_payload", "400")),
    (apple(400, 7), Refused("invalid_payload", "400")),
    (answer(400, b"<html>"), Refused("invalid_payload", "400")),
    (answer(405), Refused("invalid_payload", "405")),
    (mozilla(413, 104), Refused("payload_too_large", "413 errno 104")),
    (apple(413, "PayloadTooLarge"), Refused("payload_too_large", "413 PayloadTooLarge")),
    (answer(429, None, (b"retry-after", b"17")), Throttled("429", 17.0)),
    (answer(429, None, (b"retry-after", b"Mon, 23 Nov 2026 12:01:00 GMT")), Throttled("429", 60.0)),
    (answer(429), Throttled("429")),
    (apple(429, "TooManyRequests"), Throttled("429 TooManyRequests")),
    (answer(429, None, (b"x-wns-continue-after", b"40")), Throttled("429", 40.0)),
    (answer(406, None, (b"x-wns-continue-after", b"40")), Throttled("406", 40.0)),
    (answer(406, None, (b"x-wns-continue-after", b"later")), Throttled("406")),
    (answer(406, None, (b"x-wns-status", b"dropped")), Throttled("406")),
    (answer(406), Refused("invalid_payload", "406")),
    (mozilla(503, 201, (b"retry-after", b"5")), Transient("503 errno 201", 5.0)),
    (mozilla(503, 202), Transient("503 errno 202")),
    (mozilla(500, 999), Transient("500 errno 999")),
    (mozilla(502, 900), Transient("502 errno 900")),
    (answer(500, b"\xff\xfe"), Transient("500")),
    (answer(408), Transient("408")),
    (answer(301, None, (b"location", b"https://10.0.0.1/")), Refused("endpoint_forbidden", "301")),
    (answer(307), Refused("endpoint_forbidden", "307")),
    (Unsent("forbidden_address", "10.0.0.1 is private"), Refused("endpoint_forbidden", "10.0.0.1 is private")),
    (Unsent("forbidden_address"), Refused("endpoint_forbidden", "forbidden_address")),
    (Unsent("no_connection", "no such host"), NotSent("no_connection")),
    (Unsent("refused_stream"), NotSent("refused_stream")),
    (Ambiguous("cut_off"), Unknown("cut_off")),
    (Ambiguous("timed_out"), Unknown("timed_out")),
]


@pytest.mark.parametrize(("ending", "expected"), TABLE, ids=lambda case: repr(case)[:70])
def test_every_answer_has_its_verdict(ending: Ending, expected: Verdict) -> None:
    assert same(verdict(ending, START, believed=True), expected)


@pytest.mark.parametrize(("ending", "expected"), TABLE, ids=lambda case: repr(case)[:70])
def test_a_service_nobody_knows_cannot_blame_the_credential(ending: Ending, expected: Verdict) -> None:
    given = verdict(ending, START, believed=False)
    if isinstance(expected, CredentialFault):
        assert same(given, Refused("sender_mismatch", expected.detail))
    else:
        assert same(given, expected)


def test_every_code_that_a_verdict_names_is_in_the_error_table() -> None:
    codes = {said.code for _, said in TABLE if isinstance(said, Refused | DeadToken | Unknown)}
    assert codes == {outcome(code).code for code in codes}


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("fcm.googleapis.com", True),
        ("updates.push.services.mozilla.com", True),
        ("web.push.apple.com", True),
        ("db5p.notify.windows.com", True),
        ("evilfcm.googleapis.com", False),
        ("web.push.apple.com.evil.example", False),
        ("notify.windows.com.example", False),
        ("localhost", False),
    ],
)
def test_vendors_are_known_by_their_domain(host: str, expected: bool) -> None:
    assert known(host) is expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["errno", "reason", "code", "error"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.integers(200, 599), st.binary(max_size=20) | json_values.map(lambda value: answer(200, value).body))
def test_no_body_brings_the_reader_down(status: int, body: bytes) -> None:
    given = verdict(answer(status, body), START, believed=True)
    assert isinstance(given, Taken) == (status < 300)


def test_a_reason_without_end_is_cut() -> None:
    given = verdict(apple(400, "R" * 9999), START, believed=True)
    assert isinstance(given, Refused)
    assert len(given.detail) < 100
