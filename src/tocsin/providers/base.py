"""The contract every provider fulfils: how a message becomes calls, and what an ending means.

In: a message, the devices to reach, a credential. Out: one verdict a device. No provider decides what happens next:
retry, ambiguity and ends are the business of `dispatch`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

from tocsin.terms.handoffs import Message, Options, Reached
from tocsin.terms.outcomes import Mode

# ------------------------------------------------------------------ verdicts: what an ending means


class Taken(NamedTuple):
    """The provider accepted the message; `ref` is its name for it."""

    ref: str | None


class Refused(NamedTuple):
    """The provider refused for good. `code` is an outcome code of state `rejected`; `detail` is the provider's."""

    code: str
    detail: str


class DeadToken(NamedTuple):
    """The token is gone for good; `dead_at` is the provider's word on since when, if it said so."""

    detail: str
    dead_at: datetime | None = None
    code: str = "unregistered"


class Throttled(NamedTuple):
    """Too fast; `after` seconds were asked for, if any."""

    detail: str
    after: float | None = None


class Transient(NamedTuple):
    """The provider is unwell; `after` seconds were asked for, if any."""

    detail: str
    after: float | None = None


class CredentialFault(NamedTuple):
    """The credential was refused: nobody's message goes through it until it is mended."""

    detail: str


class Unknown(NamedTuple):
    """Nobody can know whether the provider took it: `code` is `cut_off` or `timed_out`."""

    code: str


class NotSent(NamedTuple):
    """It never left, so nothing happened: safe to send again at once."""

    detail: str


Verdict = Taken | Refused | DeadToken | Throttled | Transient | CredentialFault | Unknown | NotSent

# ------------------------------------------------------------------ limits: facts as data


@dataclass(frozen=True, slots=True)
class RetryFloors:
    """Seconds below which a retry must never come, as the provider publishes them."""

    throttled: float
    """After a 429 that names no time."""
    transient: float
    """After a 5xx that names no time; also the least wait after any failure."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a provider publishes about itself. Sizes in octets, times in seconds."""

    payload: int
    ttl_max: int
    floors: RetryFloors


# ------------------------------------------------------------------ credentials


@dataclass(frozen=True, slots=True)
class Credential:
    """A provider credential, open. Lives in `work` processes only; its repr shows no secret."""

    app_id: UUID
    credential_id: UUID
    provider: str
    mode: Mode
    version: int
    secret: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Credential({self.provider}, {self.credential_id}, version={self.version})"


class BadCredential(ValueError):
    """The credential cannot be one of this provider; the text says what is wrong and shows no secret."""


class BadToken(ValueError):
    """The token or subscription does not have the form that this provider gives out; the text says why."""


class TooLarge(ValueError):
    """The message can never fit this provider's limit; the text says by how many octets."""


# ------------------------------------------------------------------ the provider


WRITE_WITHIN: Final = 8.0
"""Seconds from the begin of a batch in which its requests are written, or not at all."""
ANSWER_WITHIN: Final = 12.0
"""Seconds from the begin of a batch in which every request has ended: well before its lease does."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """All that a provider needs to send one batch.

    `devices` are at most 500; `delivery_ids` and `receipts` run beside them: the public delivery id and the signed
    receipt token that travel in each payload. `ttl` is what is left of it, in whole seconds. `started` is the monotonic
    clock when the batch was begun (None: now): what was not written in time after that is not written at all.
    """

    message: Message
    options: Options
    notification_id: UUID
    devices: Sequence[Reached]
    delivery_ids: Sequence[str]
    receipts: Sequence[str]
    ttl: int
    started: float | None = None


class Address(NamedTuple):
    """A checked token: `token` is what is stored and hashed, `keys` what Web Push needs besides."""

    token: str
    keys: Mapping[str, str] | None


class Provider(Protocol):
    """One vendor. Stateless but for tokens and connections it may keep warm."""

    name: str

    def check_token(self, token: Any, subscription: Any, mode: Mode) -> Address:
        """What a device registered, checked by form; raises BadToken."""
        ...

    def check_message(self, message: Message, options: Options) -> None:
        """Raises TooLarge if the message can never fit, whatever the device."""
        ...

    def check_credential(self, secret: Mapping[str, Any], mode: Mode) -> Mapping[str, Any]:
        """What of a credential is public (such as a VAPID public key); raises BadCredential."""
        ...

    def limits(self, credential: Credential) -> Limits:
        """The limits in force: the published ones, or for a test app those its lab account declares."""
        ...

    def send(self, credential: Credential, parcel: Parcel) -> AsyncIterator[Sequence[tuple[int, Verdict]]]:
        """Send a batch; give chunks of (index in `parcel.devices`, verdict), each index exactly once."""
        ...
