"""Our message as the body of FCM's `messages:send`: compiled once a batch, spliced for each device.

In: message, options, what is left of the time to live. Out: the body's octets. Refuses what is over the payload limit.
The fields are those of the REST reference (firebase.google.com/docs/reference/fcm/rest/v1/projects.messages).
"""

import hashlib
from typing import Any

import orjson

from tocsin.providers import base64url
from tocsin.providers.base import TooLarge
from tocsin.providers.fcm.limits import COLLAPSE_ID, PUBLISHED
from tocsin.providers.reserved import DELIVERY, RECEIPT
from tocsin.providers.splice import Spliced, quoted
from tocsin.terms.handoffs import Message, Options


class Body:
    """The bodies of one batch. `ttl` is in seconds, `now` in whole seconds since the epoch."""

    __slots__ = ("_spliced", "_weight")

    def __init__(self, message: Message, options: Options, ttl: int, now: int) -> None:
        self._spliced = Spliced(
            lambda token, delivery, receipt: compose(message, options, ttl, now, token, delivery, receipt), holes=3
        )
        self._weight = weight(compose(message, options, ttl, now, "", "", ""))

    def fill(self, token: str, delivery: str, receipt: str) -> bytes | None:
        """The body for one device, or None if its payload is over the limit."""
        mine, signed = quoted(delivery), quoted(receipt)
        if self._weight + len(mine) + len(signed) - 4 > PUBLISHED.payload:
            return None
        return self._spliced.fill(quoted(token), mine, signed)


def compose(
    message: Message, options: Options, ttl: int, now: int, token: str, delivery: str, receipt: str
) -> dict[str, Any]:
    """The body for one device as a document; `token`, `delivery` and `receipt` appear once each, in this order."""
    left = min(max(ttl, 0), PUBLISHED.ttl_max)
    notification = _present(title=message.title, body=message.body, image=message.image)
    return {
        "message": {
            "token": token,
            **({"notification": notification} if notification else {}),
            "data": _data(message, delivery, receipt),
            "android": _android(options, left),
            "apns": _apns(message, options, left, now, shown=bool(notification)),
            "webpush": _webpush(message, options, left),
        }
    }


def weight(body: dict[str, Any]) -> int:
    """Octets that count against the payload limit: keys and values of what reaches a device, as they are written."""
    message = body["message"]
    parts = (message.get("notification"), message["data"], message["apns"].get("payload"))
    return sum(len(orjson.dumps(part)) for part in parts if part is not None)


def check(message: Message, options: Options) -> None:
    """Raises TooLarge if the message cannot fit FCM's limit with the room that every payload reserves."""
    over = weight(compose(message, options, options.ttl, 0, "", DELIVERY, RECEIPT)) - PUBLISHED.payload
    if over > 0:
        raise TooLarge(
            f"the content is {over} octets over what FCM takes: {PUBLISHED.payload} octets of notification and data, "
            "of which we need some for the delivery's id and receipt"
        )


def _data(message: Message, delivery: str, receipt: str) -> dict[str, str]:
    link = {"link": message.link} if message.link is not None else {}
    return {**message.data, **link, "tocsin_delivery": delivery, "tocsin_receipt": receipt}


def _android(options: Options, left: int) -> dict[str, Any]:
    return _present(
        collapse_key=options.collapse_key, priority="HIGH" if options.priority == "high" else "NORMAL", ttl=f"{left}s"
    )


def _apns(message: Message, options: Options, left: int, now: int, *, shown: bool) -> dict[str, Any]:
    # data alone wakes the app in the background, and APNs refuses priority 10 for that
    headers = {
        "apns-priority": "10" if shown and options.priority == "high" else "5",
        "apns-expiration": str(now + left if left else 0),
    }
    if options.collapse_key is not None:
        headers["apns-collapse-id"] = _collapse_id(options.collapse_key)
    if not shown:
        return {"headers": headers, "payload": {"aps": {"content-available": 1}}}
    if message.image is not None:
        # only a notification service extension, which this member starts, can load the image
        return {"headers": headers, "payload": {"aps": {"mutable-content": 1}}}
    return {"headers": headers}


def _webpush(message: Message, options: Options, left: int) -> dict[str, Any]:
    headers = {"TTL": str(left), "Urgency": "high" if options.priority == "high" else "normal"}
    if options.collapse_key is not None:
        headers["Topic"] = _digest(options.collapse_key)
    if message.link is not None and message.link.startswith("https://"):
        return {"headers": headers, "fcm_options": {"link": message.link}}
    return {"headers": headers}


def _collapse_id(collapse_key: str) -> str:
    """The key itself where it can be the value of a header, else a digest of it."""
    fits = len(collapse_key) <= COLLAPSE_ID and collapse_key.isascii() and collapse_key.isprintable()
    return collapse_key if fits and collapse_key == collapse_key.strip() else _digest(collapse_key)


def _digest(collapse_key: str) -> str:
    """32 characters of base64url (RFC 8030 section 5.4 takes no more)."""
    return base64url.encode(hashlib.sha256(collapse_key.encode()).digest()[:24])


def _present(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
