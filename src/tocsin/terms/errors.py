"""The error table: every way a thing can go wrong, one row each, in one place.

Three kinds. A *refusal* is said to a caller at the door. An *outcome code* says why a delivery ended as it did.
A *fault* is ours or a provider's and goes to the operator. Each row carries all that anybody asks of an error;
the pages under `docs/reference/` are printed from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """Who hears of an error."""

    REFUSAL = "refusal"
    OUTCOME = "outcome"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Row:
    """One error.

    `status` is the HTTP status of a refusal or fault (0 where no caller sees it), `label` the metric label,
    `retryable` whether the same call may succeed later, `ours` whether we, not the caller, have to mend it,
    `gloss` one sentence saying what it is and `fix` one saying what to do.
    """

    code: str
    kind: Kind
    status: int
    retryable: bool
    ours: bool
    gloss: str
    fix: str
    label: str = field(default="")

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.code)


def _refusal(code: str, status: int, gloss: str, fix: str, *, retryable: bool = False) -> Row:
    return Row(code, Kind.REFUSAL, status, retryable, False, gloss, fix)


def _outcome(code: str, gloss: str, fix: str, *, ours: bool = False, retryable: bool = False) -> Row:
    return Row(code, Kind.OUTCOME, 0, retryable, ours, gloss, fix)


def _fault(code: str, status: int, gloss: str, fix: str, *, retryable: bool = True) -> Row:
    return Row(code, Kind.FAULT, status, retryable, True, gloss, fix)


REFUSALS: Final = (
    _refusal("malformed_json", 400, "The body is not JSON.", "Send UTF-8 JSON; the detail names the place."),
    _refusal("malformed_cursor", 400, "The cursor was not made by this endpoint.", "Use next_cursor as it was given."),
    _refusal(
        "invalid_parameter",
        422,
        "A parameter of the path or query has a value that cannot be used.",
        "The detail names the parameter and says what it takes.",
    ),
    _refusal(
        "unknown_parameter",
        422,
        "The query has a parameter that does not exist here.",
        "Remove it, or use the name that is suggested.",
    ),
    _refusal("invalid_header", 400, "A header has a value that cannot be used.", "See the detail for what it takes."),
    _refusal(
        "unauthorized",
        401,
        "The key is missing, unknown or revoked.",
        "Send Authorization: Bearer tk_test_… or tk_live_… with a key of this installation.",
    ),
    _refusal(
        "invalid_receipt",
        401,
        "The receipt token was not signed by this installation.",
        "Send the token exactly as it came in the payload.",
    ),
    _refusal(
        "not_found", 404, "There is nothing with this id in your app.", "Check the id and which app the key belongs to."
    ),
    _refusal("method_not_allowed", 405, "This path does not take this method.", "See the API reference."),
    _refusal(
        "request_timeout",
        408,
        "The body did not arrive in time.",
        "Send the whole body within 30 seconds.",
        retryable=True,
    ),
    _refusal(
        "in_progress",
        409,
        "A request with the same idempotency key is still running.",
        "Wait as Retry-After says and send the same request again.",
        retryable=True,
    ),
    _refusal(
        "wrong_state",
        409,
        "The notification is not in a state that allows this.",
        "Read its status; the reference lists which moves are possible.",
    ),
    _refusal("too_large", 413, "The body is over the limit.", "Send at most 256 KiB; imports are streams of lines."),
    _refusal(
        "unsupported_media_type",
        415,
        "The body is of a type this path does not read.",
        "Send application/json, or application/x-ndjson to an import.",
    ),
    _refusal(
        "invalid_field",
        422,
        "A field has the wrong type or a value that is not allowed.",
        "The pointer names the field, the detail says what it takes.",
    ),
    _refusal(
        "unknown_field",
        422,
        "The body has a field that does not exist.",
        "Remove it, or use the name that is suggested.",
    ),
    _refusal("missing_field", 422, "A required field is missing.", "The pointer names it."),
    _refusal(
        "invalid_token",
        422,
        "The push token or subscription does not have the form its provider gives out.",
        "Send the token as the device's SDK returned it.",
    ),
    _refusal("unknown_timezone", 422, "The time zone is not in the IANA database.", "Use a name such as Europe/Paris."),
    _refusal("unknown_locale", 422, "The locale is not a BCP 47 language tag we know.", "Use a tag such as pt-BR."),
    _refusal(
        "unknown_device",
        422,
        "A device id in the target does not exist in your app.",
        "Register the device first, or leave it out.",
    ),
    _refusal(
        "payload_too_large",
        422,
        "The content can never fit a provider's limit.",
        "Shorten it; the detail says by how much and for whom.",
    ),
    _refusal(
        "idempotency_mismatch",
        422,
        "The idempotency key was used before with another body.",
        "Use a new key for a new request.",
    ),
)

OUTCOMES: Final = (
    # sent
    _outcome("accepted", "The provider accepted the message.", "Nothing."),
    # rejected
    _outcome(
        "unregistered",
        "The provider says the token is dead; the device has been retired.",
        "Nothing: a registration of the device brings it back.",
    ),
    _outcome("invalid_token", "The provider does not know the token.", "Register the device again."),
    _outcome(
        "sender_mismatch",
        "The token belongs to another sender or key than the app's credential.",
        "Register the device with this app's sender, or upload the right credential.",
    ),
    _outcome(
        "third_party_auth",
        "FCM could not sign in to Apple's or the browser's push service on the app's behalf.",
        "Upload a valid APNs key or Web Push certificate in the Firebase console; then send again.",
    ),
    _outcome(
        "invalid_payload", "The provider refused the message itself.", "Read the provider's detail; change the content."
    ),
    _outcome(
        "payload_too_large", "The message was over the provider's size limit for this device.", "Shorten the content."
    ),
    _outcome(
        "endpoint_forbidden",
        "The subscription's address is not one we may call.",
        "Subscribe through a push service on the public internet.",
    ),
    # expired
    _outcome("ttl_passed", "The time to live passed before the provider took the message.", "Allow a longer ttl."),
    # cancelled
    _outcome("cancelled", "The notification was cancelled before this device was reached.", "Nothing."),
    # suppressed
    _outcome("dead_token", "The device was retired after planning.", "Nothing: a registration brings it back."),
    _outcome(
        "moved", "The device changed its owner or token after planning.", "Nothing: the new owner is not the target."
    ),
    _outcome("device_deleted", "The device was deleted after planning.", "Nothing."),
    # failed
    _outcome(
        "no_credential",
        "The app has no usable credential for the device's provider.",
        "Add one with `tocsin credentials add`, then send again.",
    ),
    _outcome(
        "retries_exhausted",
        "The provider did not take the message in the tries allowed.",
        "Look at the attempts; send again when the provider has recovered.",
        retryable=True,
    ),
    _outcome(
        "unknown_outcome",
        "The answer was lost after sending and on_ambiguity is drop.",
        "Send again if a second copy does less harm than none.",
        retryable=True,
    ),
    _outcome("poison", "This delivery ended the worker that held it, again and again.", "Report it.", ours=True),
    _outcome("render_failed", "The message for this device could not be made.", "Read the detail; change the content."),
    _outcome("fault", "A fault of ours ended the delivery.", "Report it.", ours=True, retryable=True),
    # attempts that are not an end
    _outcome("throttled", "The provider asked to slow down.", "Nothing: it is tried again.", retryable=True),
    _outcome(
        "provider_unavailable",
        "The provider was not able to answer properly.",
        "Nothing: it is tried again.",
        retryable=True,
    ),
    _outcome(
        "provider_unreachable",
        "No connection to the provider: nothing was sent.",
        "Nothing: it is tried again.",
        retryable=True,
    ),
    _outcome(
        "credential_fault",
        "The provider refused the app's credential.",
        "Check and replace it with `tocsin credentials add`; deliveries wait until then.",
    ),
    _outcome(
        "cut_off",
        "The connection was lost after sending and before the answer.",
        "Nothing: on_ambiguity decides.",
        retryable=True,
    ),
    _outcome("timed_out", "No answer came in time.", "Nothing: on_ambiguity decides.", retryable=True),
    _outcome(
        "worker_lost",
        "The worker that had begun this delivery ended before it recorded an answer.",
        "Nothing: on_ambiguity decides.",
        ours=True,
        retryable=True,
    ),
)

FAULTS: Final = (
    _fault("internal", 500, "Something went wrong on our side.", "Send the request id to the operator."),
    _fault(
        "unavailable", 503, "The platform cannot take the request now.", "Wait as Retry-After says and send it again."
    ),
    _fault("database_unavailable", 503, "The database does not answer.", "Run `tocsin doctor`."),
    _fault(
        "unsafe_database",
        0,
        "The database would break a promise of ours (role or durability settings).",
        "Follow the message; `tocsin doctor` checks again.",
        retryable=False,
    ),
)

TABLE: Final = {(row.kind, row.code): row for row in (*REFUSALS, *OUTCOMES, *FAULTS)}


def refusal(code: str) -> Row:
    """The row of a refusal; KeyError if there is none."""
    return TABLE[Kind.REFUSAL, code]


def outcome(code: str) -> Row:
    """The row of an outcome code; KeyError if there is none."""
    return TABLE[Kind.OUTCOME, code]


def fault(code: str) -> Row:
    """The row of a fault; KeyError if there is none."""
    return TABLE[Kind.FAULT, code]


@dataclass(eq=False)
class Refused(Exception):
    """A refusal on its way to the caller: the row's code, where (`pointer`, RFC 6901), what and what to do instead."""

    code: str
    detail: str
    pointer: str | None = None
    suggestion: str | None = None
    retry_after: int | None = None
    """Whole seconds, for rows that are retryable."""
    others: Sequence["Refused"] = ()
    """What else is wrong with the same request."""

    @property
    def row(self) -> Row:
        """The table row of this refusal."""
        return refusal(self.code)
