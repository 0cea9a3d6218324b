"""What an ending of a push service means for the delivery: by status and by the vendors' codes, never by text.

Mozilla answers with an `errno` (autopush docs, errors), Apple with a `reason` ("Sending web push notifications in web
apps and browsers"), WNS with `x-wns-…` headers, Google with a status. Only services we know may blame the credential:
anybody can subscribe with an endpoint of their own, and their 401 must not stop an app's other messages.
"""

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

_KNOWN: Final = ("fcm.googleapis.com", "push.services.mozilla.com", "push.apple.com", "notify.windows.com")

_LONGEST_REF: Final = 512
_LONGEST_CODE: Final = 64


def known(host: str) -> bool:
    """Whether the host is of a vendor whose answers about a credential are believed."""
    return any(host == name or host.endswith(f".{name}") for name in _KNOWN)


def verdict(ending: Ending, now: datetime, *, believed: bool) -> Verdict:
    """What became of one call; `believed` says whether the service may blame the credential."""
    if isinstance(ending, Answered):
        return _answered(ending, now, believed=believed)
    if isinstance(ending, Ambiguous):
        return Unknown(ending.code)
    return _unsent(ending)


def _unsent(ending: Unsent) -> Verdict:
    if ending.code == "forbidden_address":
        return Refused("endpoint_forbidden", ending.detail or ending.code)
    return NotSent(ending.code)


def _answered(answer: Answered, now: datetime, *, believed: bool) -> Verdict:
    if 200 <= answer.status < 300:
        if answer.header(b"x-wns-status") == b"channelthrottled":
            # WNS takes the request and drops the message
            return Throttled("channelthrottled", _wns_wait(answer))
        return Taken(_reference(answer))
    errno, reason = _codes(answer.body)
    said = reason or (f"errno {errno}" if errno is not None else "")
    detail = f"{answer.status} {said}".strip()
    match answer.status:
        case 404 if reason:
            # Apple's BadPath: the address never was one of a device
            return Refused("invalid_token", detail)
        case 404 | 410:
            return DeadToken(detail)
        case 400 | 403 if reason == "VapidPkHashMismatch":
            return Refused("sender_mismatch", detail)
        case 401 | 403:
            return _identity(answer.status, reason, detail, believed=believed)
        case 406 | 429:
            return _too_fast(answer, now, detail)
        case 413:
            return Refused("payload_too_large", detail)
        case status if 300 <= status < 400:
            # redirects are never followed: they would lead past the check of the address
            return Refused("endpoint_forbidden", detail)
        case status if status == 408 or not 400 <= status < 500:
            return Transient(detail, retry_after.seconds(answer, now))
        case _:
            return Refused("invalid_payload", detail)


def _identity(status: int, reason: str | None, detail: str, *, believed: bool) -> Verdict:
    """Of 401 and 403: the credential's fault, or this subscription's alone?

    Mozilla says 401 (errno 109) and Apple 403 with a reason when the token itself is bad. Google says 403, without a
    code, when the subscription was made for another key: that concerns one device.
    """
    if believed and (status == 401 or reason):
        return CredentialFault(detail)
    return Refused("sender_mismatch", detail)


def _too_fast(answer: Answered, now: datetime, detail: str) -> Verdict:
    if answer.status == 429:
        asked = retry_after.seconds(answer, now)
        return Throttled(detail, asked if asked is not None else _wns_wait(answer))
    if any(name.startswith(b"x-wns-") for name, _ in answer.headers):
        return Throttled(detail, _wns_wait(answer))
    return Refused("invalid_payload", detail)


def _wns_wait(answer: Answered) -> float | None:
    raw = answer.header(b"x-wns-continue-after")
    return None if raw is None else retry_after.whole_seconds(raw)


def _reference(answer: Answered) -> str | None:
    """The service's name for the message: its address (RFC 8030 section 5), or Apple's id."""
    raw = answer.header(b"location") or answer.header(b"apns-id")
    if not raw or len(raw) > _LONGEST_REF:
        return None
    text = raw.decode("latin-1")
    return text if text.isascii() and text.isprintable() else None


def _codes(body: bytes) -> tuple[int | None, str | None]:
    """Mozilla's errno and Apple's reason, as far as the body has them."""
    try:
        value: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None, None
    if not isinstance(value, dict):
        return None, None
    errno, reason = value.get("errno"), value.get("reason")
    return (
        errno if isinstance(errno, int) and not isinstance(errno, bool) else None,
        reason[:_LONGEST_CODE] if isinstance(reason, str) and reason else None,
    )
