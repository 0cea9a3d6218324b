"""`POST` to a subscription's endpoint and `DELETE` of a message: one request judged as a push service judges it.

In order: the subscription, the size, the headers of RFC 8030, the identification of RFC 8292, and at last what the
subscription stands for. What the lab has the private key of is decrypted, and the delivery id taken from the plaintext.
"""

import re
import secrets
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from tocsin.lab.accounts import b64url
from tocsin.lab.desk import Desk, Judged, Kept, Parcel
from tocsin.lab.exchange import Answer, Reply, Request
from tocsin.lab.scenarios import Act
from tocsin.lab.webpush import refusals
from tocsin.lab.webpush.browsers import Channel, Stored
from tocsin.lab.webpush.decrypt import Undecryptable, decrypt, split
from tocsin.lab.webpush.hub import Hub
from tocsin.lab.webpush.synthetic import Synthetic, Synthetics, tag_of
from tocsin.lab.webpush.vapid import BadVapid, Identity, Vapid

PROVIDER = "webpush"
ENDPOINTS = "/wpush/v2/"
MESSAGES = "/m/"
BODY_LIMIT = 4096
UNDECRYPTABLE = "undecryptable"
_TTL_MAX = {refusals.MOZILLA: 30 * 86_400, refusals.FCM: 2_419_200, refusals.APPLE: 30 * 86_400}
_TTL = re.compile(r"[0-9]{1,20}")
_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")
_URGENCIES = ("very-low", "low", "normal", "high")


class _Wanted(NamedTuple):
    """What the headers asked for."""

    ttl: int
    topic: str | None


class _Refused(Exception):
    def __init__(self, refusal: refusals.Refusal, detail: str | None = None, reason: str | None = None) -> None:
        self.refusal = refusal if reason is None else refusal._replace(apple=reason)
        self.detail = detail


class _Read(NamedTuple):
    """What a body turned out to hold: the plaintext, or why it cannot be read."""

    plain: bytes | None
    delivery: str | None
    fault: str | None


_NOTHING = _Read(None, None, None)


def _read(body: bytes, subscription: Synthetic) -> _Read:
    if not body or len(body) > BODY_LIMIT:
        return _NOTHING
    try:
        plain = decrypt(body, subscription.key, subscription.public, subscription.secret)
    except Undecryptable as fault:
        return _Read(None, None, str(fault))
    try:
        told = orjson.loads(plain)
        delivery = told["tocsin"]["delivery"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        delivery = None
    return _Read(plain, delivery if isinstance(delivery, str) else None, None)


class Post:
    """The push service. `revoked` makes the lab's own VAPID key a stranger's."""

    def __init__(
        self, desk: Desk, synthetics: Synthetics, hub: Hub, origins: Callable[[], set[str]], own_key: bytes
    ) -> None:
        """`origins` gives the origins that an identification may be made out to."""
        self._desk = desk
        self._synthetics = synthetics
        self._hub = hub
        self._origins = origins
        self._own_key = own_key
        self._vapid = Vapid()
        self.revoked = False

    # ------------------------------------------------------------------ POST

    def receive(self, request: Request) -> Reply:
        """The reply to a request below `ENDPOINTS`."""
        name = request.path[len(ENDPOINTS) :]
        synthetic = self._synthetics.find(name)
        channel = self._hub.browsers.find(name) if synthetic is None else None
        flavour = synthetic.flavour if synthetic is not None else refusals.MOZILLA
        read = _read(request.body, synthetic) if synthetic is not None else _NOTHING
        endpoint = self._hub.endpoints + name
        parcel = Parcel(endpoint, read.delivery, synthetic.marker if synthetic is not None else None)

        def judged() -> Judged:
            try:
                wanted = self._check(request, synthetic, channel, flavour)
            except _Refused as refused:
                return _refusal(refused.refusal, flavour, refused.detail)
            if channel is not None:
                return self._to_browser(request, channel, wanted)
            return self._to_synthetic(parcel, read, wanted, flavour)

        def troubled(act: Act, retry_after: int | None) -> Judged:
            return _trouble(act, retry_after, flavour)

        return self._desk.handle(PROVIDER, request, parcel, judged, troubled)

    def _check(self, request: Request, synthetic: Synthetic | None, channel: Channel | None, flavour: str) -> _Wanted:
        if (synthetic is None and channel is None) or request.method != "POST":
            raise _Refused(refusals.NOT_FOUND)
        if channel is not None and channel.gone:
            raise _Refused(refusals.GONE)
        if len(request.body) > BODY_LIMIT:
            raise _Refused(refusals.TOO_LARGE)
        wanted = _headers(request, flavour)
        self._identify(request, synthetic, channel)
        return wanted

    def _identify(self, request: Request, synthetic: Synthetic | None, channel: Channel | None) -> None:
        bound = synthetic.vapid_tag if synthetic is not None else channel.vapid_key if channel is not None else None
        given = request.header(b"authorization")
        if bound is None and given is None:
            return
        try:
            identity = self._vapid.check(given, self._origins(), time.time())
        except BadVapid as bad:
            raise _Refused(refusals.UNAUTHORISED, str(bad), bad.reason) from None
        if self.revoked and identity.key == self._own_key:
            raise _Refused(refusals.UNAUTHORISED, "the key has been revoked")
        if bound is not None and bound not in (tag_of(identity.key), b64url(identity.key)):
            raise _Refused(refusals.MISMATCH)
        self._fresh_key(request.body, identity)

    @staticmethod
    def _fresh_key(body: bytes, identity: Identity) -> None:
        try:
            sender = split(body)[2] if body else b""
        except Undecryptable:
            return
        if sender == identity.key:
            raise _Refused(refusals.BAD_KEY)

    def _to_synthetic(self, parcel: Parcel, read: _Read, wanted: _Wanted, flavour: str) -> Judged:
        act, retry_after, delay = self._desk.decide(parcel)
        refusal = _REFUSED.get(act)
        if refusal is not None:
            return _refusal(refusal, flavour)._replace(act=act)
        if act in _TROUBLES:
            return _trouble(act, retry_after, flavour)._replace(act=act)
        content: Any = None if read.plain is None else read.plain.decode("utf-8", "replace")
        self._desk.inbox.append(Kept(time.time(), PROVIDER, parcel.token, parcel.delivery, content))
        ref = secrets.token_hex(16)
        code = UNDECRYPTABLE if read.fault is not None else None
        return Judged(self._created(ref, wanted.ttl, flavour), code, True, ref, None, act, delay)

    def _to_browser(self, request: Request, channel: Channel, wanted: _Wanted) -> Judged:
        ref = secrets.token_hex(16)
        ttl = wanted.ttl
        self._hub.deliver(
            Stored(ref, channel.name, channel.uaid, channel.channel, wanted.topic, time.time() + ttl, ttl, request.body)
        )
        return Judged(self._created(ref, ttl, refusals.MOZILLA), None, True, ref)

    def _created(self, ref: str, ttl: int, flavour: str) -> Answer:
        origin = self._hub.endpoints.removesuffix(ENDPOINTS)
        headers = [(b"location", f"{origin}{MESSAGES}{ref}".encode()), (b"ttl", b"%d" % ttl)]
        if flavour == refusals.APPLE:
            headers.append((b"apns-id", ref.encode()))
        return Answer(201, headers, b"")

    # ------------------------------------------------------------------ DELETE

    def cancel(self, request: Request) -> Answer:
        """The answer to a request below `MESSAGES`: 204 if the message still waited (RFC 8030 section 5), else 404."""
        if request.method == "DELETE" and self._hub.browsers.drop(request.path[len(MESSAGES) :]):
            return Answer(204, (), b"")
        return refusals.refuse(refusals.NOT_FOUND, refusals.MOZILLA, "There is no such message waiting.")


def _headers(request: Request, flavour: str) -> _Wanted:
    ttls = request.every(b"ttl")
    if not ttls:
        raise _Refused(refusals.NO_TTL)
    if len(ttls) > 1 or _TTL.fullmatch(ttls[0]) is None:
        raise _Refused(refusals.BAD_TTL)
    urgencies = request.every(b"urgency")
    if len(urgencies) > 1 or any(urgency not in _URGENCIES for urgency in urgencies):
        raise _Refused(refusals.BAD_URGENCY)
    topics = request.every(b"topic")
    if len(topics) > 1 or any(_TOPIC.fullmatch(topic) is None for topic in topics):
        raise _Refused(refusals.BAD_TOPIC)
    if topics and flavour == refusals.APPLE and len(topics[0]) % 4 == 1:
        raise _Refused(refusals.BAD_TOPIC, "Apple reads a topic as base64url, which no text of this length is.")
    if request.body and [coding.lower() for coding in request.every(b"content-encoding")] != ["aes128gcm"]:
        raise _Refused(refusals.BAD_ENCODING)
    return _Wanted(min(int(ttls[0]), _TTL_MAX[flavour]), topics[0] if topics else None)


def _refusal(refusal: refusals.Refusal, flavour: str, detail: str | None = None) -> Judged:
    answer = refusals.refuse(refusal, flavour, detail)
    code = {refusals.MOZILLA: str(refusal.errno), refusals.APPLE: refusal.apple}.get(flavour, str(answer.status))
    return Judged(answer, code, False)


_REFUSED = {
    Act.DEAD: refusals.GONE,
    Act.GONE: refusals.EXPIRED,
    Act.BAD: refusals.BAD_REQUEST,
    Act.MISMATCH: refusals.MISMATCH,
    Act.REVOKED: refusals.UNAUTHORISED,
    Act.TOO_LARGE: refusals.TOO_LARGE,
}
_TROUBLES = {Act.THROTTLE: refusals.THROTTLED, Act.BUSY: refusals.BUSY, Act.ERROR: refusals.ERROR}


def _trouble(act: Act, retry_after: int | None, flavour: str) -> Judged:
    judged = _refusal(_TROUBLES[act], flavour)
    answer = refusals.refuse(_TROUBLES[act], flavour, None, retry_after)
    return judged._replace(answer=answer, retry_after=retry_after)
