"""Every answer of FCM and what it means, by code and by status."""

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
from tocsin.providers.fcm.verdicts import STALE_BEARER, verdict
from tocsin.terms.errors import outcome
from tocsin.wire.endings import Ambiguous, Ending, Unsent

FCM = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
APNS = "type.googleapis.com/google.firebase.fcm.v1.ApnsError"
BAD = "type.googleapis.com/google.rpc.BadRequest"
AFTER = (b"retry-after", b"30")
DATED = (b"retry-after", b"Mon, 23 Nov 2026 12:02:00 GMT")


def error(http: int, code: str | None, *headers: tuple[bytes, bytes], **more: Any) -> Ending:
    details: list[Any] = [{"@type": FCM, "errorCode": code}] if code else []
    if "apns" in more:
        details.append({"@type": APNS, **more["apns"]})
    if "fields" in more:
        violations = [{"field": field, "description": "x"} for field in more["fields"]]
        details.append({"@type": BAD, "fieldViolations": violations})
    body = {"error": {"code": http, "message": "words", "status": more.get("status", "X"), "details": details}}
    return answer(http, body, *headers)


TABLE: list[tuple[Ending, Verdict]] = [
    (answer(200, {"name": "projects/p/messages/1"}), Taken("projects/p/messages/1")),
    (answer(200), Taken(None)),
    (answer(200, b"<html>"), Taken(None)),
    (answer(200, {"name": 7}), Taken(None)),
    (answer(200, {"name": ""}), Taken(None)),
    (answer(200, []), Taken(None)),
    (answer(204), Taken(None)),
    (error(404, "UNREGISTERED"), DeadToken("UNREGISTERED")),
    (
        error(400, "INVALID_ARGUMENT", apns={"statusCode": 410, "reason": "Unregistered"}),
        DeadToken("INVALID_ARGUMENT Unregistered"),
    ),
    (error(400, "INVALID_ARGUMENT", apns={"statusCode": 410}), DeadToken("INVALID_ARGUMENT")),
    (error(400, "INVALID_ARGUMENT", fields=["message.token"]), Refused("invalid_token", "INVALID_ARGUMENT")),
    (error(400, "INVALID_ARGUMENT", fields=["x", "message.fid"]), Refused("invalid_token", "INVALID_ARGUMENT")),
    (error(400, None, fields=["message.token"]), Refused("invalid_token", "INVALID_ARGUMENT")),
    (error(400, "INVALID_ARGUMENT", fields=["message.data"]), Refused("invalid_payload", "INVALID_ARGUMENT")),
    (error(400, "INVALID_ARGUMENT", fields=[["message.token"]]), Refused("invalid_payload", "INVALID_ARGUMENT")),
    (error(400, "INVALID_ARGUMENT"), Refused("invalid_payload", "INVALID_ARGUMENT")),
    (
        error(400, "INVALID_ARGUMENT", apns={"statusCode": 400, "reason": "BadDeviceToken"}),
        Refused("invalid_token", "INVALID_ARGUMENT BadDeviceToken"),
    ),
    (
        error(400, "INVALID_ARGUMENT", apns={"statusCode": 400, "reason": "DeviceTokenNotForTopic"}),
        Refused("sender_mismatch", "INVALID_ARGUMENT DeviceTokenNotForTopic"),
    ),
    (
        error(400, "INVALID_ARGUMENT", apns={"statusCode": 413, "reason": "PayloadTooLarge"}),
        Refused("payload_too_large", "INVALID_ARGUMENT PayloadTooLarge"),
    ),
    (
        error(400, "INVALID_ARGUMENT", apns={"statusCode": 400, "reason": "BadPriority"}),
        Refused("invalid_payload", "INVALID_ARGUMENT BadPriority"),
    ),
    (answer(400, b"garbage"), Refused("invalid_payload", "INVALID_ARGUMENT")),
    (error(403, "SENDER_ID_MISMATCH"), Refused("sender_mismatch", "SENDER_ID_MISMATCH")),
    (error(403, None, status="PERMISSION_DENIED"), CredentialFault("PERMISSION_DENIED")),
    (answer(403, b"<html>"), CredentialFault("PERMISSION_DENIED")),
    (error(404, None, status="NOT_FOUND"), CredentialFault("NOT_FOUND")),
    (error(401, None, status="UNAUTHENTICATED"), STALE_BEARER),
    (answer(401, b"\xff"), STALE_BEARER),
    (error(401, "THIRD_PARTY_AUTH_ERROR"), Refused("third_party_auth", "THIRD_PARTY_AUTH_ERROR")),
    (
        error(401, "THIRD_PARTY_AUTH_ERROR", apns={"statusCode": 403, "reason": "InvalidProviderToken"}),
        Refused("third_party_auth", "THIRD_PARTY_AUTH_ERROR InvalidProviderToken"),
    ),
    (error(429, "QUOTA_EXCEEDED", AFTER), Throttled("QUOTA_EXCEEDED", 30.0)),
    (error(429, "QUOTA_EXCEEDED", DATED), Throttled("QUOTA_EXCEEDED", 120.0)),
    (error(429, "QUOTA_EXCEEDED"), Throttled("QUOTA_EXCEEDED")),
    (answer(429, b"slow down", AFTER), Throttled("RESOURCE_EXHAUSTED", 30.0)),
    (error(503, "UNAVAILABLE"), Transient("UNAVAILABLE")),
    (error(503, "UNAVAILABLE", AFTER), Transient("UNAVAILABLE", 30.0)),
    (error(500, "INTERNAL"), Transient("INTERNAL")),
    (answer(500, b"<html>"), Transient("500")),
    (answer(502, None, AFTER), Transient("502", 30.0)),
    (error(503, "UNSPECIFIED_ERROR"), Transient("503")),
    (error(400, "UNSPECIFIED_ERROR"), Refused("invalid_payload", "INVALID_ARGUMENT")),
    (error(429, "A_CODE_OF_2030"), Throttled("RESOURCE_EXHAUSTED")),
    (error(418, "A_CODE_OF_2030"), Refused("invalid_payload", "418")),
    (answer(408), Transient("408")),
    (answer(413), Refused("payload_too_large", "413")),
    (answer(302, None, (b"location", b"https://elsewhere.example/")), Transient("302")),
    (answer(599), Transient("599")),
    (Ambiguous("cut_off"), Unknown("cut_off")),
    (Ambiguous("timed_out", "12 s"), Unknown("timed_out")),
    (Unsent("goaway"), NotSent("goaway")),
    (Unsent("no_connection", "refused"), NotSent("no_connection")),
    (Unsent("late"), NotSent("late")),
]


@pytest.mark.parametrize(("ending", "expected"), TABLE, ids=lambda case: repr(case)[:70])
def test_every_answer_has_its_verdict(ending: Ending, expected: Verdict) -> None:
    given = verdict(ending, START)
    assert same(given, expected)
    assert (given is STALE_BEARER) == (expected is STALE_BEARER)


def test_every_code_that_a_verdict_names_is_in_the_error_table() -> None:
    codes = {said.code for _, said in TABLE if isinstance(said, Refused | DeadToken | Unknown)}
    assert codes == {outcome(code).code for code in codes}


@given(st.text(max_size=30))
def test_words_change_nothing(words: str) -> None:
    body = {
        "error": {
            "code": 404,
            "message": words,
            "status": words,
            "details": [{"@type": FCM, "errorCode": "UNREGISTERED"}],
        }
    }
    assert same(verdict(answer(404, body), START), DeadToken("UNREGISTERED"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 999) | st.text(max_size=8) | st.sampled_from([FCM, APNS, BAD]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "details", "@type", "errorCode", "reason", "statusCode", "fieldViolations", "field"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.integers(200, 599), json_values | st.binary(max_size=20))
def test_no_body_brings_the_reader_down(status: int, body: Any) -> None:
    given = verdict(answer(status, body), START)
    assert isinstance(given, Taken) == (status < 300)


@given(st.fixed_dictionaries({"error": st.fixed_dictionaries({"details": st.lists(json_values, max_size=4)})}))
def test_no_details_bring_the_reader_down(body: Any) -> None:
    assert not isinstance(verdict(answer(400, body), START), Taken)


def test_a_reason_without_end_is_cut() -> None:
    given = verdict(error(400, "INVALID_ARGUMENT", apns={"statusCode": 400, "reason": "R" * 9999}), START)
    assert isinstance(given, Refused)
    assert len(given.detail) < 100
