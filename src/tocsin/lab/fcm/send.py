"""`POST /v1/projects/{project}/messages:send`: one request judged as FCM HTTP v1 judges it.

In order: access token, JSON, form, project, quota, what the message says, and at last what the token stands for.
"""

import os
import time
from collections.abc import Callable
from typing import Any

import orjson

from tocsin.lab.accounts import PROJECT, PROJECT_NUMBER
from tocsin.lab.desk import Desk, Judged, Kept, Parcel
from tocsin.lab.exchange import Answer, Reply, Request
from tocsin.lab.fcm import errors, rules, schema
from tocsin.lab.fcm.oauth import OAuth
from tocsin.lab.fcm.quota import Quota
from tocsin.lab.scenarios import Act
from tocsin.lab.tokens import fcm_marker

PROVIDER = "fcm"
_HEAD, _TAIL = "/v1/projects/", "/messages:send"
_SUCCESS = [errors.JSON]


def project_of(path: str) -> str | None:
    """The project that a path of messages:send names, or None for another path."""
    if not path.startswith(_HEAD) or not path.endswith(_TAIL):
        return None
    return path[len(_HEAD) : -len(_TAIL)]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _parcel(body: Any) -> Parcel:
    message = body.get("message") if isinstance(body, dict) else None
    if not isinstance(message, dict):
        return Parcel(None, None, None)
    token = _text(message.get("token")) or _text(message.get("fid"))
    data = message.get("data")
    delivery = _text(data.get("tocsin_delivery")) if isinstance(data, dict) else None
    return Parcel(token, delivery, fcm_marker(token) if token else None)


class Send:
    """The method. One project, with its quota."""

    def __init__(self, desk: Desk, oauth: OAuth) -> None:
        self._desk = desk
        self._oauth = oauth
        self.quota = Quota()
        self._serial = int.from_bytes(os.urandom(6), "big")

    def receive(self, request: Request, project: str) -> Reply:
        """The reply to one request."""
        try:
            body = orjson.loads(request.body)
            fault = None if isinstance(body, dict) else "Root element must be a message."
        except orjson.JSONDecodeError as unreadable:
            body, fault = None, str(unreadable)
        parcel = _parcel(body)
        judge = self._judge(request, project, body, fault, parcel)
        return self._desk.handle(PROVIDER, request, parcel, judge, _troubled)

    def _judge(
        self, request: Request, project: str, body: Any, unreadable: str | None, parcel: Parcel
    ) -> Callable[[], Judged]:
        def judged() -> Judged:
            if request.method != "POST":
                return Judged(errors.not_found(), None, False)
            if not self._oauth.is_good(request.header(b"authorization"), time.time()):
                return Judged(errors.unauthenticated(), "UNAUTHENTICATED", False)
            if project not in (PROJECT, PROJECT_NUMBER):
                return Judged(errors.denied(project), "PERMISSION_DENIED", False)
            wait = self.quota.take(self._desk.clock())
            if wait is not None:
                return _troubled(Act.THROTTLE, wait)
            if unreadable is not None:
                return Judged(errors.unreadable(unreadable), "INVALID_ARGUMENT", False)
            violations = schema.violations(body)
            if violations:
                return Judged(errors.malformed(violations), "INVALID_ARGUMENT", False)
            violation = rules.violation(body["message"], len(request.body))
            if violation is not None:
                return Judged(errors.invalid(violation), "INVALID_ARGUMENT", False)
            if rules.member(body, "validate_only"):
                return Judged(self._success("fake_message_id"), None, False)
            return self._by_token(body["message"], parcel)

        return judged

    def _by_token(self, message: dict[str, Any], parcel: Parcel) -> Judged:
        act, retry_after, delay = self._desk.decide(parcel)
        refused = _REFUSED.get(act)
        if refused is not None:
            return Judged(refused[0](), refused[1], False, act=act)
        if act in (Act.THROTTLE, Act.ERROR, Act.BUSY):
            return _troubled(act, retry_after)._replace(act=act)
        self._desk.inbox.append(Kept(time.time(), PROVIDER, parcel.token, parcel.delivery, message))
        self._serial = (self._serial + 1) & (1 << 64) - 1
        name = f"0:{time.time_ns() // 1000}%{self._serial:016x}"
        return Judged(self._success(name), None, True, f"projects/{PROJECT}/messages/{name}", None, act, delay)

    @staticmethod
    def _success(name: str) -> Answer:
        return Answer(200, _SUCCESS, b'{\n  "name": "projects/%b/messages/%b"\n}\n' % (PROJECT.encode(), name.encode()))


_REFUSED: dict[Act, tuple[Callable[[], Answer], str]] = {
    Act.DEAD: (errors.unregistered, "UNREGISTERED"),
    Act.BAD: (errors.bad_token, "INVALID_ARGUMENT"),
    Act.MISMATCH: (errors.sender_mismatch, "SENDER_ID_MISMATCH"),
    Act.THIRD_PARTY: (errors.third_party, "THIRD_PARTY_AUTH_ERROR"),
    Act.APNS_DEAD: (errors.apns_dead, "INVALID_ARGUMENT"),
    Act.REVOKED: (errors.unauthenticated, "UNAUTHENTICATED"),
}


def _troubled(act: Act, retry_after: int | None) -> Judged:
    if act is Act.THROTTLE:
        return Judged(errors.quota_exceeded(retry_after), "QUOTA_EXCEEDED", False, None, retry_after)
    if act is Act.BUSY:
        return Judged(errors.unavailable(retry_after), "UNAVAILABLE", False, None, retry_after)
    return Judged(errors.internal(), "INTERNAL", False)
