"""What an ending of FCM means for the delivery: by the codes in the body, else by status, never by text.

Codes: firebase.google.com/docs/cloud-messaging/error-codes and the REST reference of FcmError; `ApnsError` is what
FCM passes on of Apple's answer.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import orjson

from tocsin.providers import retry_after
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
from tocsin.wire.endings import Ambiguous, Answered, Ending, Unsent

STALE_BEARER: Final = CredentialFault("UNAUTHENTICATED")
"""The access token was refused: a new one may do, once."""

_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_APNS_ERROR = "type.googleapis.com/google.firebase.fcm.v1.ApnsError"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"

_TARGET_FIELDS = ("message.token", "message.fid")

_APNS_REASONS: Final = {
    "BadDeviceToken": "invalid_token",
    "DeviceTokenNotForTopic": "sender_mismatch",
    "PayloadTooLarge": "payload_too_large",
}
"""Reasons of Apple's that FCM reports under INVALID_ARGUMENT and that say what was wrong (Apple, "Handling notification
responses from APNs")."""


def verdict(ending: Ending, now: datetime) -> Verdict:
    """What became of one call. The very object STALE_BEARER is given for a refused access token."""
    if isinstance(ending, Answered):
        return _answered(ending, now)
    if isinstance(ending, Ambiguous):
        return Unknown(ending.code)
    return _unsent(ending)


def _unsent(ending: Unsent) -> Verdict:
    return NotSent(ending.code)


def _answered(answer: Answered, now: datetime) -> Verdict:
    if 200 <= answer.status < 300:
        name = _object(answer.body).get("name")
        return Taken(name if isinstance(name, str) and name else None)
    error = _object(answer.body).get("error")
    details = _details(error if isinstance(error, dict) else {})
    code = details.get(_FCM_ERROR, {}).get("errorCode")
    apns = details.get(_APNS_ERROR, {})
    match code:
        case "UNREGISTERED":
            return DeadToken("UNREGISTERED")
        case "INVALID_ARGUMENT":
            return _invalid_argument(details, apns)
        case "SENDER_ID_MISMATCH":
            return Refused("sender_mismatch", code)
        case "QUOTA_EXCEEDED":
            return Throttled(code, retry_after.seconds(answer, now))
        case "UNAVAILABLE" | "INTERNAL":
            return Transient(code, retry_after.seconds(answer, now))
        case "THIRD_PARTY_AUTH_ERROR":
            # the key that Google holds for Apple or the browsers: the app's Android devices are not touched by it
            return Refused("third_party_auth", f"{code} {_reason(apns)}".strip())
        case _:
            # UNSPECIFIED_ERROR says nothing, and a code made after this table was written says nothing to us
            return _by_status(answer, details, now)


def _invalid_argument(details: Mapping[str, Mapping[str, Any]], apns: Mapping[str, Any]) -> Verdict:
    reason = _reason(apns)
    words = f"INVALID_ARGUMENT {reason}".strip()
    if apns.get("statusCode") == 410:
        return DeadToken(words)
    if reason in _APNS_REASONS:
        return Refused(_APNS_REASONS[reason], words)
    violations = details.get(_BAD_REQUEST, {}).get("fieldViolations")
    entries = violations if isinstance(violations, list) else []
    if any(isinstance(entry, dict) and entry.get("field") in _TARGET_FIELDS for entry in entries):
        return Refused("invalid_token", words)
    return Refused("invalid_payload", words)


def _by_status(answer: Answered, details: Mapping[str, Mapping[str, Any]], now: datetime) -> Verdict:
    match answer.status:
        case 400:
            return _invalid_argument(details, details.get(_APNS_ERROR, {}))
        case 401:
            return STALE_BEARER
        case 403:
            return CredentialFault("PERMISSION_DENIED")
        case 404:
            # a dead token says UNREGISTERED: this is the project, or the whole address
            return CredentialFault("NOT_FOUND")
        case 413:
            return Refused("payload_too_large", "413")
        case 429:
            return Throttled("RESOURCE_EXHAUSTED", retry_after.seconds(answer, now))
        case status if status == 408 or not 400 <= status < 500:
            # FCM redirects nobody: whatever stands between us and it may be gone next time
            return Transient(str(status), retry_after.seconds(answer, now))
        case status:
            return Refused("invalid_payload", str(status))


def _reason(apns: Mapping[str, Any]) -> str:
    """Apple's reason, a short code; empty if there is none."""
    reason = apns.get("reason")
    return reason[:64] if isinstance(reason, str) else ""


def _details(error: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The entries of `error.details` by their `@type`."""
    entries = error.get("details")
    if not isinstance(entries, list):
        return {}
    return {
        entry["@type"]: entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("@type"), str)
    }


def _object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object; an empty one if it is anything else."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
