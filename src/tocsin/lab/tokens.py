"""Magic tokens: well-formed tokens and subscriptions whose first part names what the lab does with them.

An FCM token of scenario `throttled` begins `lab-throttled` (filled up with `_` to at least 11 characters) before its
colon; a Web Push endpoint's last path segment begins `lab-throttled.`. A number after the name, as in
`lab-throttled-30`, sets the seconds of a scenario that has any. All the rest is free: there is no end of distinct ones.
Refuses scenario names that are not in the table.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import NamedTuple

ORDINARY = "ordinary"
_FCM_FORM = re.compile(r"[A-Za-z0-9_:.%=-]{20,4096}")  # no grammar is published
_MARKER = re.compile(r"lab-([a-z]+(?:-[a-z]+)*)(?:-([0-9]{1,4}))?_*")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the table: what FCM and Web Push do; None where the provider has no such thing.

    `seconds` is the scenario's own time if the token sets no other: the delay or the Retry-After.
    """

    name: str
    fcm: str | None
    webpush: str | None
    seconds: float | None = None


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("ok", "200, accepted", "201, accepted"),
        Scenario("slow", "200, accepted after 3 s", "201, accepted after 3 s", 3.0),
        Scenario("dead", "404 UNREGISTERED", "410, the subscription is gone"),
        Scenario("gone", None, "404, the subscription expired"),
        Scenario("bad", "400 INVALID_ARGUMENT", "400, the request is bad"),
        Scenario("mismatch", "403 SENDER_ID_MISMATCH", "401 or 403, the VAPID key is not the subscription's"),
        Scenario(
            "throttled",
            "429 QUOTA_EXCEEDED with Retry-After 2 until those seconds are over, then accepted",
            "429 with Retry-After 2 until those seconds are over, then accepted",
            2.0,
        ),
        Scenario(
            "throttled-bare",
            "429 QUOTA_EXCEEDED without Retry-After until the declared floor (1 s) is over, then accepted",
            "429 without Retry-After until the declared floor (1 s) is over, then accepted",
        ),
        Scenario("error-once", "500 INTERNAL once, then accepted", "500 once, then accepted"),
        Scenario(
            "busy-once",
            "503 UNAVAILABLE with Retry-After 1 once, then accepted",
            "503 with Retry-After 1 once, then accepted",
            1.0,
        ),
        Scenario("busy", "503 UNAVAILABLE always", "503 always"),
        Scenario("silent", "accepted, and never answered", "accepted, and never answered"),
        Scenario(
            "cut",
            "accepted and cut off before the answer once, then answered",
            "accepted and cut off before the answer once, then answered",
        ),
        Scenario("third-party", "401 THIRD_PARTY_AUTH_ERROR with the APNs reason", None),
        Scenario("apns-dead", "400 INVALID_ARGUMENT with ApnsError 410 Unregistered", None),
        Scenario(
            "revoked",
            "401 UNAUTHENTICATED, as if the credential were revoked",
            "401 or 403, as if the credential were revoked",
        ),
        Scenario("too-large", None, "413, the message is too large"),
    )
}


class Marker(NamedTuple):
    """What a magic token says: the scenario, and its seconds if it has any."""

    scenario: str
    seconds: float | None


def read_marker(text: str, provider: str) -> Marker | None:
    """The marker in the first part of a token of `provider`, or None if it is an ordinary one."""
    if not text.startswith("lab-"):
        return None
    match = _MARKER.fullmatch(text)
    scenario = SCENARIOS.get(match[1]) if match else None
    if match is None or scenario is None or getattr(scenario, provider) is None:
        return None
    if match[2] and scenario.seconds is None:
        return None
    return Marker(scenario.name, float(match[2]) if match[2] else scenario.seconds)


def write_marker(scenario: str, seconds: int | None = None) -> str:
    """The marker of a scenario; raises ValueError for one that is not in the table and for seconds it cannot take."""
    if scenario not in SCENARIOS:
        raise ValueError(f"{scenario!r} is not a scenario of the lab; there are: {', '.join(SCENARIOS)}")
    if seconds is None:
        return f"lab-{scenario}"
    if SCENARIOS[scenario].seconds is None:
        raise ValueError(f"the scenario {scenario!r} takes no seconds")
    if not 0 <= seconds <= 9999:
        raise ValueError(f"a marker's seconds are 0 to 9999, not {seconds}")
    return f"lab-{scenario}-{seconds}"


def _letters(text: str, octets: int) -> str:
    return base64.urlsafe_b64encode(hashlib.shake_256(text.encode()).digest(octets)).rstrip(b"=").decode()


def make(scenario: str, n: int, seconds: int | None = None) -> str:
    """The n-th FCM token of a scenario, always the same one; `ordinary` gives tokens without a marker.

    Raises ValueError for a scenario that FCM does not have.
    """
    if scenario == ORDINARY:
        head = "cdef"[n % 4] + _letters(f"head/{n}", 16)[:21]
    else:
        head = write_marker(scenario, seconds).ljust(11, "_")
        if SCENARIOS[scenario].fcm is None:
            raise ValueError(f"FCM has no scenario {scenario!r}")
    return f"{head}:APA91b{_letters(f'{head}/{n}', 100)}"


def fcm_marker(token: str) -> Marker | None:
    """The marker of an FCM token, or None."""
    return read_marker(token.partition(":")[0], "fcm") if token.startswith("lab-") else None


def is_fcm_token(token: str) -> bool:
    """Whether this may be a registration token or an installation id: their alphabet, 20 characters or more."""
    return _FCM_FORM.fullmatch(token) is not None


class Row(NamedTuple):
    """A line of the printed table."""

    provider: str
    name: str
    marker: str
    happens: str


def rows() -> list[Row]:
    """The table of magic tokens, for the docs: one row a provider and scenario."""
    return [
        Row(provider, scenario.name, write_marker(scenario.name), happens)
        for provider in ("fcm", "webpush")
        for scenario in SCENARIOS.values()
        if (happens := getattr(scenario, provider)) is not None
    ]
