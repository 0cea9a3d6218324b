"""The request of `messages:send` as data: every field of SendMessageRequest and its type, in both spellings.

Takes parsed JSON, gives the violations of form (an unknown name, a wrong type), each with its path. What a well-formed
message may not say is judged in `rules`. Source: the FCM v1 discovery document, schemas of SendMessageRequest.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple


class Violation(NamedTuple):
    """A google.rpc.BadRequest field violation."""

    field: str
    description: str


Check = Callable[[Any, str, list[Violation]], None]

_DURATION = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,9})?s")
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def _wrong(value: Any, at: str, kind: str) -> Violation:
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return Violation(at, f"Invalid value at '{at}' ({kind}), {shown[:120]}")


def text(value: Any, at: str, found: list[Violation]) -> None:
    """A string."""
    if type(value) is not str:
        found.append(_wrong(value, at, "TYPE_STRING"))


def flag(value: Any, at: str, found: list[Violation]) -> None:
    """A boolean."""
    if type(value) is not bool:
        found.append(_wrong(value, at, "TYPE_BOOL"))


def int32(value: Any, at: str, found: list[Violation]) -> None:
    """A 32-bit integer, also written as a string (proto3 JSON)."""
    if type(value) is str and re.fullmatch(r"-?[0-9]{1,10}", value):
        value = int(value)
    if type(value) is not int or not -(2**31) <= value < 2**31:
        found.append(_wrong(value, at, "TYPE_INT32"))


def real(value: Any, at: str, found: list[Violation]) -> None:
    """A float."""
    if type(value) not in (int, float):
        found.append(_wrong(value, at, "TYPE_FLOAT"))


def duration(value: Any, at: str, found: list[Violation]) -> None:
    """A google.protobuf.Duration, such as `3.5s`."""
    if type(value) is not str or _DURATION.fullmatch(value) is None:
        found.append(Violation(at, f"Invalid value at '{at}' (type.googleapis.com/google.protobuf.Duration)"))


def timestamp(value: Any, at: str, found: list[Violation]) -> None:
    """A google.protobuf.Timestamp, RFC 3339."""
    if type(value) is not str or _TIMESTAMP.fullmatch(value) is None:
        found.append(Violation(at, f"Invalid value at '{at}' (type.googleapis.com/google.protobuf.Timestamp)"))


def free(value: Any, at: str, found: list[Violation]) -> None:
    """A google.protobuf.Struct: any JSON object."""
    if type(value) is not dict:
        found.append(_wrong(value, at, "type.googleapis.com/google.protobuf.Struct"))


def strings(value: Any, at: str, found: list[Violation]) -> None:
    """A map from string to string."""
    if type(value) is not dict:
        found.append(_wrong(value, at, "map"))
        return
    for index, (key, member) in enumerate(value.items()):
        if type(member) is not str:
            found.append(_wrong(member, f"{at}[{index}].value", "TYPE_STRING"))
            found.append(Violation(at, f"the value of {key!r} is not a string"))


def many(check: Check) -> Check:
    """A list whose members pass `check`."""

    def checked(value: Any, at: str, found: list[Violation]) -> None:
        if type(value) is not list:
            found.append(_wrong(value, at, "repeated"))
            return
        for index, member in enumerate(value):
            check(member, f"{at}[{index}]", found)

    return checked


def one_of(*names: str) -> Check:
    """An enum, by name in either case: Google's own SDKs send `high` as well as `PRIORITY_HIGH`."""

    def checked(value: Any, at: str, found: list[Violation]) -> None:
        if type(value) is not str or value.upper() not in names:
            found.append(_wrong(value, at, "TYPE_ENUM"))

    return checked


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def message(fields: dict[str, Check]) -> Check:
    """An object with these fields, in snake_case or lowerCamelCase, and no others; null is the same as absent."""
    checks = {spelling: check for name, check in fields.items() for spelling in (name, _camel(name))}

    def checked(value: Any, at: str, found: list[Violation]) -> None:
        if type(value) is not dict:
            found.append(_wrong(value, at, "message"))
            return
        for name, member in value.items():
            check = checks.get(name)
            if check is None:
                where = f" at '{at}'" if at else ""
                said = f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.'
                found.append(Violation(at, said))
            elif member is not None:
                check(member, f"{at}.{name}" if at else name, found)

    return checked


_LABEL = message({"analytics_label": text})
_COLOR = message({"red": real, "green": real, "blue": real, "alpha": real})
_PRIORITY = one_of(*(f"PRIORITY_{name}" for name in ("UNSPECIFIED", "MIN", "LOW", "DEFAULT", "HIGH", "MAX")))
_TEXTS = "title body icon color sound tag click_action body_loc_key title_loc_key channel_id ticker image"
_FLAGS = "sticky local_only default_sound default_vibrate_timings default_light_settings"
_DRAWN: dict[str, Check] = {
    **dict.fromkeys(_TEXTS.split(), text),
    **dict.fromkeys(_FLAGS.split(), flag),
    "body_loc_args": many(text),
    "title_loc_args": many(text),
    "event_time": timestamp,
    "notification_priority": _PRIORITY,
    "vibrate_timings": many(duration),
    "visibility": one_of("VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"),
    "notification_count": int32,
    "light_settings": message({"color": _COLOR, "light_on_duration": duration, "light_off_duration": duration}),
}
_ANDROID_BOTH: dict[str, Check] = {
    "collapse_key": text,
    "ttl": duration,
    "restricted_package_name": text,
    "data": strings,
    "fcm_options": _LABEL,
    "direct_boot_ok": flag,
    "bandwidth_constrained_ok": flag,
    "restricted_satellite_ok": flag,
}
_ANDROID = message(
    {
        **_ANDROID_BOTH,
        "priority": one_of("NORMAL", "HIGH"),
        "notification": message(
            {
                **_DRAWN,
                "bypass_proxy_notification": flag,
                "proxy": one_of("PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"),
            }
        ),
    }
)
_ANDROID_V2 = message(
    {
        **_ANDROID_BOTH,
        "remote_notification": message(
            {
                "notification": message({**_DRAWN, "id": int32}),
                "mutable_content": flag,
                "use_as_v1_data_message": flag,
            }
        ),
        "background_sync": message({}),
    }
)
_MESSAGE = message(
    {
        "name": text,
        "fid": text,
        "token": text,
        "topic": text,
        "condition": text,
        "data": strings,
        "notification": message({"title": text, "body": text, "image": text}),
        "android": _ANDROID,
        "android_v2": _ANDROID_V2,
        "webpush": message(
            {
                "headers": strings,
                "data": strings,
                "notification": free,
                "fcm_options": message({"link": text, "analytics_label": text}),
            }
        ),
        "apns": message(
            {
                "headers": strings,
                "payload": free,
                "fcm_options": message({"analytics_label": text, "image": text}),
                "live_activity_token": text,
            }
        ),
        "fcm_options": _LABEL,
    }
)
_REQUEST = message({"message": _MESSAGE, "validate_only": flag})


def violations(body: dict[str, Any]) -> list[Violation]:
    """What in a SendMessageRequest is not of its form; empty if all is well."""
    found: list[Violation] = []
    _REQUEST(body, "", found)
    if not found and body.get("message") is None:
        found.append(Violation("message", "Message is required."))
    return found
