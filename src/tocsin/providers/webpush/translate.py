"""Our message as what a service worker reads, JSON compiled once a batch and spliced for each device; and the headers.

In: message, options, what is left of the time to live. Out: plaintext octets, and the headers that requests share.
Refuses what is over the limit of a push message.
"""

import hashlib
from typing import Any, Final

import orjson

from tocsin.providers import base64url
from tocsin.providers.base import TooLarge
from tocsin.providers.reserved import DELIVERY, RECEIPT
from tocsin.providers.splice import Spliced, quoted
from tocsin.providers.webpush.limits import PUBLISHED
from tocsin.terms.handoffs import Message, Options
from tocsin.wire.endings import Headers

_FIXED: Final = (
    (b"content-encoding", b"aes128gcm"),
    # RFC 8188 section 2: the type of what is inside; to a push service it is octets
    (b"content-type", b"application/octet-stream"),
)


class Plaintext:
    """The plaintexts of one batch."""

    __slots__ = ("_spliced",)

    def __init__(self, message: Message) -> None:
        self._spliced = Spliced(lambda delivery, receipt: compose(message, delivery, receipt), holes=2)

    def fill(self, delivery: str, receipt: str) -> bytes | None:
        """The plaintext for one device, or None if it is over the limit."""
        filled = self._spliced.fill(quoted(delivery), quoted(receipt))
        return None if len(filled) > PUBLISHED.payload else filled


def compose(message: Message, delivery: str, receipt: str) -> dict[str, Any]:
    """The plaintext for one device as a document; absent members are left out."""
    members = {
        "title": message.title,
        "body": message.body,
        "image": message.image,
        "link": message.link,
        "data": dict(message.data) or None,
        "tocsin": {"delivery": delivery, "receipt": receipt},
    }
    return {name: value for name, value in members.items() if value is not None}


def check(message: Message) -> None:
    """Raises TooLarge if the message cannot fit with the room that every payload reserves."""
    over = len(orjson.dumps(compose(message, DELIVERY, RECEIPT))) - PUBLISHED.payload
    if over > 0:
        raise TooLarge(
            f"the content is {over} octets over what Web Push takes: {PUBLISHED.payload} octets of JSON, "
            "of which we need some for the delivery's id and receipt"
        )


def headers(options: Options, ttl: int) -> Headers:
    """The headers of RFC 8030 sections 5.2 to 5.4 that a batch shares; `ttl` in seconds."""
    shared = (
        *_FIXED,
        (b"ttl", str(min(max(ttl, 0), PUBLISHED.ttl_max)).encode()),
        (b"urgency", b"high" if options.priority == "high" else b"normal"),
    )
    if options.collapse_key is None:
        return shared
    return (*shared, (b"topic", topic(options.collapse_key)))


def topic(collapse_key: str) -> bytes:
    """32 characters of base64url for any key: RFC 8030 takes no more and no others, and Apple decodes what it gets,
    so that a length that base64url never has would be refused."""
    return base64url.encode(hashlib.sha256(collapse_key.encode()).digest()[:24]).encode("ascii")
