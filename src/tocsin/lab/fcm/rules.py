"""What a well-formed FCM message may not say: targets, reserved data keys, times to live, labels, sizes.

Takes a message that passed `schema`; gives the first violation or None. Sources: the FCM v1 reference (Message,
AndroidConfig, ErrorCode) and the concept pages on topics and data messages.
"""

import re
from typing import Any

import orjson

from tocsin.lab.fcm.schema import Violation
from tocsin.lab.tokens import is_fcm_token

PAYLOAD_LIMIT = 4096
TOPIC_PAYLOAD_LIMIT = 2048
TTL_MAX = 2_419_200
_TARGETS = ("fid", "token", "topic", "condition")
_TOPIC = re.compile(r"[a-zA-Z0-9\-_.~%]{1,900}")
_CONDITION_TOPIC = re.compile(r"'([a-zA-Z0-9\-_.~%]{1,900})' in topics")
_LABEL = re.compile(r"[a-zA-Z0-9\-_.~%]{1,50}")
_RESERVED = ("google.", "gcm.notification.")


def member(value: dict[str, Any], name: str) -> Any:
    """A member by its snake_case name, also where it is spelt in lowerCamelCase."""
    if name in value:
        return value[name]
    head, *rest = name.split("_")
    return value.get(head + "".join(word.capitalize() for word in rest))


def _target(message: dict[str, Any]) -> Violation | None:
    given = [name for name in _TARGETS if message.get(name) is not None]
    if len(given) != 1:
        return Violation("message", "Exactly one of fid, token, topic or condition is required.")
    name, value = given[0], message[given[0]]
    if name in ("fid", "token") and not is_fcm_token(value):
        return Violation(f"message.{name}", "The registration token is not a valid FCM registration token")
    if name == "topic" and _TOPIC.fullmatch(value) is None:
        return Violation("message.topic", "Invalid topic name.")
    if name == "condition":
        topics = _CONDITION_TOPIC.findall(value)
        rest = re.sub(r"[\s()!]|&&|\|\|", "", _CONDITION_TOPIC.sub("", value))
        if not 1 <= len(topics) <= 5 or rest:
            return Violation("message.condition", "Invalid condition expression provided.")
    return None


def _data(data: dict[str, str] | None, at: str) -> Violation | None:
    for key in data or ():
        if key in ("from", "message_type") or key.startswith(_RESERVED):
            return Violation(at, f"Invalid data payload key: {key}")
    return None


def _android(message: dict[str, Any]) -> Violation | None:
    first, second = message.get("android"), member(message, "android_v2")
    if first is not None and second is not None:
        return Violation("message.android_v2", "Only one of android and android_v2 may be set.")
    config = first if first is not None else second
    if config is None:
        return None
    at = "message.android" if first is not None else "message.android_v2"
    ttl = config.get("ttl")
    if ttl is not None and not 0 <= float(ttl[:-1]) <= TTL_MAX:
        return Violation(f"{at}.ttl", "Invalid Android TTL: it must be from 0 to 2419200 seconds.")
    if all(member(second or {}, name) is not None for name in ("remote_notification", "background_sync")):
        return Violation(at, "Only one of remote_notification and background_sync may be set.")
    return _data(config.get("data"), f"{at}.data")


def _labels(message: dict[str, Any]) -> Violation | None:
    for at in ("", "android", "android_v2", "webpush", "apns"):
        part = member(message, at) if at else message
        options = member(part, "fcm_options") if part else None
        label = member(options, "analytics_label") if options else None
        if label is not None and _LABEL.fullmatch(label) is None:
            where = ".".join(filter(None, ("message", at, "fcm_options.analytics_label")))
            return Violation(where, "Invalid analytics label.")
        link = options.get("link") if options and at == "webpush" else None
        if link is not None and not link.startswith("https://"):
            return Violation("message.webpush.fcm_options.link", "The link must be an https URL.")
    return None


def _octets(value: Any) -> int:
    match value:
        case str():
            return len(value.encode())
        case dict():
            return sum(len(key.encode()) + _octets(part) for key, part in value.items())
        case list():
            return sum(map(_octets, value))
        case None:
            return 0
    return len(orjson.dumps(value))


def payload_size(message: dict[str, Any]) -> int:
    """Octets that count against the limit: keys and values, for the platform that gets most."""
    common = {"data": message.get("data") or {}, "notification": message.get("notification") or {}}
    sizes = [_octets(common["data"]) + _octets(common["notification"])]
    for name in ("android", "android_v2", "webpush"):
        part = member(message, name) or {}
        remote = member(part, "remote_notification") or {}
        drawn = part.get("notification") or remote.get("notification") or {}
        data = part.get("data") or common["data"]
        sizes.append(_octets(data) + _octets({**common["notification"], **drawn}))
    apns = message.get("apns") or {}
    sizes.append(sizes[0] + _octets(apns.get("payload")))
    return max(sizes)


def violation(message: dict[str, Any], octets: int) -> Violation | None:
    """The first thing wrong with a message; `octets` is the size of the request's body, which bounds the payload's."""
    found = _target(message) or _data(message.get("data"), "message.data") or _android(message) or _labels(message)
    if found is not None:
        return found
    limit = PAYLOAD_LIMIT if message.get("topic") is None and message.get("condition") is None else TOPIC_PAYLOAD_LIMIT
    if octets > limit and (size := payload_size(message)) > limit:
        return Violation("message", f"Message payload is too big: {size} bytes, at most {limit} are allowed.")
    return None
