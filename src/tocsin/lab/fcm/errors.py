"""FCM's error bodies, as they look on the wire: google.rpc status, FcmError, ApnsError, BadRequest, QuotaFailure.

Gives answers ready to send. Sources: the FCM v1 ErrorCode reference and google.rpc.Status.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from tocsin.lab.exchange import Answer
from tocsin.lab.fcm.schema import Violation

JSON = (b"content-type", b"application/json; charset=UTF-8")
_FCM = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_APNS = "type.googleapis.com/google.firebase.fcm.v1.ApnsError"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_QUOTA = "type.googleapis.com/google.rpc.QuotaFailure"
_INFO = "type.googleapis.com/google.rpc.ErrorInfo"


def _answer(
    http: int, status: str, message: str, details: Sequence[dict[str, Any]] = (), retry_after: int | None = None
) -> Answer:
    error: dict[str, Any] = {"code": http, "message": message, "status": status}
    if details:
        error["details"] = list(details)
    headers = [JSON]
    if retry_after is not None:
        headers.append((b"retry-after", b"%d" % retry_after))
    return Answer(http, headers, orjson.dumps({"error": error}, option=orjson.OPT_INDENT_2))


def _fcm(code: str) -> dict[str, Any]:
    return {"@type": _FCM, "errorCode": code}


def unreadable(why: str) -> Answer:
    """400: the body is not JSON, or not an object."""
    return _answer(400, "INVALID_ARGUMENT", f"Invalid JSON payload received. {why}")


def malformed(violations: Sequence[Violation]) -> Answer:
    """400: fields that do not exist or have the wrong type. Refused before FCM proper sees it, so without FcmError."""
    listed = [violation._asdict() for violation in violations]
    message = "\n".join(violation.description for violation in violations)
    return _answer(400, "INVALID_ARGUMENT", message, [{"@type": _BAD_REQUEST, "fieldViolations": listed}])


def invalid(violation: Violation) -> Answer:
    """400 INVALID_ARGUMENT: what the message says is not allowed."""
    details = [_fcm("INVALID_ARGUMENT"), {"@type": _BAD_REQUEST, "fieldViolations": [violation._asdict()]}]
    return _answer(400, "INVALID_ARGUMENT", violation.description, details)


def unauthenticated() -> Answer:
    """401: the access token is missing, expired, revoked or not ours. No FcmError."""
    message = (
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
        "authentication credential."
    )
    details = [{"@type": _INFO, "reason": "ACCESS_TOKEN_EXPIRED", "domain": "googleapis.com"}]
    answer = _answer(401, "UNAUTHENTICATED", message, details)
    return answer._replace(
        headers=[*answer.headers, (b"www-authenticate", b'Bearer realm="https://accounts.google.com/"')]
    )


def denied(project: str) -> Answer:
    """403: the account may not send for this project. No FcmError."""
    message = (
        f"Permission 'cloudmessaging.messages.create' denied on resource "
        f"'//cloudresourcemanager.googleapis.com/projects/{project}' (or it may not exist)."
    )
    details = [{"@type": _INFO, "reason": "IAM_PERMISSION_DENIED", "domain": "cloudresourcemanager.googleapis.com"}]
    return _answer(403, "PERMISSION_DENIED", message, details)


def unregistered() -> Answer:
    """404 UNREGISTERED: the token is dead."""
    return _answer(404, "NOT_FOUND", "Requested entity was not found.", [_fcm("UNREGISTERED")])


def bad_token() -> Answer:
    """400 INVALID_ARGUMENT: the token is none."""
    return invalid(Violation("message.token", "The registration token is not a valid FCM registration token"))


def sender_mismatch() -> Answer:
    """403 SENDER_ID_MISMATCH: the token belongs to another sender."""
    return _answer(403, "PERMISSION_DENIED", "SenderId mismatch", [_fcm("SENDER_ID_MISMATCH")])


def quota_exceeded(retry_after: int | None, subject: str = "project") -> Answer:
    """429 QUOTA_EXCEEDED, with or without Retry-After."""
    violation = {"subject": subject, "description": "Quota exceeded for quota metric 'Messages sent'."}
    details = [_fcm("QUOTA_EXCEEDED"), {"@type": _QUOTA, "violations": [violation]}]
    message = "Quota exceeded for quota metric 'Messages sent' and limit 'Messages sent per minute'."
    return _answer(429, "RESOURCE_EXHAUSTED", message, details, retry_after)


def unavailable(retry_after: int | None) -> Answer:
    """503 UNAVAILABLE."""
    return _answer(503, "UNAVAILABLE", "The service is currently unavailable.", [_fcm("UNAVAILABLE")], retry_after)


def internal() -> Answer:
    """500 INTERNAL."""
    return _answer(500, "INTERNAL", "Internal error encountered.", [_fcm("INTERNAL")])


def third_party() -> Answer:
    """401 THIRD_PARTY_AUTH_ERROR: the app's APNs key is wrong. The bearer token is not at fault."""
    details = [
        _fcm("THIRD_PARTY_AUTH_ERROR"),
        {"@type": _APNS, "statusCode": 403, "reason": "InvalidProviderToken"},
    ]
    return _answer(401, "UNAUTHENTICATED", "Auth error from APNS or Web Push Service", details)


def apns_dead() -> Answer:
    """400 INVALID_ARGUMENT with ApnsError 410: a dead token that does not say UNREGISTERED."""
    details = [_fcm("INVALID_ARGUMENT"), {"@type": _APNS, "statusCode": 410, "reason": "Unregistered"}]
    return _answer(400, "INVALID_ARGUMENT", "APNs device token is disabled.", details)


def not_found() -> Answer:
    """404 for a path that is none."""
    return _answer(404, "NOT_FOUND", "Method not found.")
