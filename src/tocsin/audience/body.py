"""What a device says of itself, and what of it is believed: the body of a PUT and, with its `id`, a line of an import.

In: checked JSON. Out: a Registration. Refuses what its provider would not have given out, tongues and zones nobody has
heard of, and attributes that are large, deep or not values of JSON.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Protocol, TypeAlias

import orjson
from pydantic import Field

from tocsin.audience import languages
from tocsin.audience.devices import Registration
from tocsin.providers.base import Address, BadToken
from tocsin.terms.errors import Refused
from tocsin.terms.outcomes import Mode
from tocsin.web.bodies import Body
from tocsin.web.problems import did_you_mean, pointer

NAME_LENGTH: Final = 200
"""Characters in an external id or a user id, at most."""
ATTRIBUTES_SIZE: Final = 8 * 1024
"""Octets of attributes as JSON, at most."""
ATTRIBUTES_DEPTH: Final = 3
"""Levels of attributes: an object in an object in an object, at most."""
IMPORTS: Final = "imports/"
"""What no external id begins with: `/v1/devices/imports/…` is where imports are read."""


class TokenCheck(Protocol):
    """What the door needs of a provider."""

    def check_token(self, token: Any, subscription: Any, mode: Mode) -> Address:
        """What a device registered, checked by form; raises BadToken."""
        ...


Providers: TypeAlias = Mapping[str, TokenCheck]
"""The providers, by name."""


class SubscriptionKeys(Body):
    """The keys of a Web Push subscription."""

    p256dh: str = Field(description="The browser's public key: base64url of an uncompressed P-256 point.")
    auth: str = Field(description="The authentication secret: base64url of 16 octets.")


class Subscription(Body):
    """A Web Push subscription, as `PushSubscription.toJSON()` writes it in a browser."""

    endpoint: str = Field(description="Where the browser's push service takes messages.")
    keys: SubscriptionKeys
    expirationTime: float | None = Field(  # noqa: N815 (the browser's name for it)
        default=None, description="When the browser gives it up, in ms since 1970. Taken and not kept."
    )


class DeviceBody(Body):
    """The full state of a device: what is left out is empty afterwards."""

    provider: str = Field(description="Who delivers to it: fcm or webpush.")
    token: str | None = Field(default=None, description="What the provider's SDK on the device returned (FCM).")
    subscription: Subscription | None = Field(default=None, description="What the browser returned (Web Push).")
    user_id: Annotated[str, Field(min_length=1, max_length=NAME_LENGTH)] | None = Field(
        default=None, description="Your name for the user who is signed in on the device."
    )
    locale: str | None = Field(default=None, description="The user's language, as a BCP 47 tag such as pt-BR.")
    timezone: str | None = Field(default=None, description="The user's time zone, as in Europe/Paris.")
    attributes: dict[str, Any] = Field(
        default_factory=dict, description="Whatever else you know of the device: JSON of at most 8 KiB, three levels."
    )
    environment: Literal["production", "sandbox"] = Field(
        default="production", description="Which of a provider's environments gave out the token."
    )


class ImportLine(DeviceBody):
    """A line of an import: a device and the name you give it."""

    id: str = Field(description="Your name for the device: 1 to 200 printable characters.")


def device_name(text: str, where: str | None = None) -> str:
    """A device's external id, checked; raises Refused at the pointer `where`."""
    if not 1 <= len(text) <= NAME_LENGTH or not text.isprintable():
        raise Refused("invalid_field", f"A device id has 1 to {NAME_LENGTH} printable characters.", where)
    if text.startswith(IMPORTS):
        raise Refused("invalid_field", f"A device id does not begin with {IMPORTS!r}.", where)
    return text


def registration(name: str, body: DeviceBody, providers: Providers, mode: Mode) -> Registration:
    """The registration a body asks for under the external id `name`; raises Refused with a pointer into it."""
    provider = providers.get(body.provider)
    if provider is None:
        raise Refused(
            "invalid_field",
            f"There is no provider {body.provider[:40]!r}.",
            "/provider",
            did_you_mean(body.provider[:40], sorted(providers)),
        )
    subscription = None if body.subscription is None else body.subscription.model_dump(exclude={"expirationTime"})
    try:
        address = provider.check_token(body.token, subscription, mode)
    except BadToken as bad:
        where = "/subscription" if subscription is not None and body.token is None else "/token"
        raise Refused("invalid_token", f"{bad}.", where) from None
    if body.user_id is not None and not body.user_id.isprintable():
        raise Refused("invalid_field", "A user id has printable characters only.", "/user_id")
    _check_attributes(body.attributes)
    return Registration(
        name,
        body.provider,
        body.environment,
        address.token,
        address.keys,
        body.user_id,
        None if body.locale is None else languages.locale(body.locale),
        None if body.timezone is None else languages.timezone(body.timezone),
        body.attributes,
    )


def _check_attributes(attributes: Mapping[str, Any]) -> None:
    if not attributes:
        return
    _check_values(attributes, ("attributes",))
    try:
        size = len(orjson.dumps(attributes))
    except TypeError as wide:
        raise Refused("invalid_field", f"The attributes cannot be kept: {wide}.", "/attributes") from None
    if size > ATTRIBUTES_SIZE:
        raise Refused(
            "invalid_field", f"The attributes take {size} octets of JSON, {ATTRIBUTES_SIZE} at most.", "/attributes"
        )


def _check_values(value: Any, path: tuple[str | int, ...]) -> None:
    if isinstance(value, (dict, list)):
        if len(path) > ATTRIBUTES_DEPTH:
            raise Refused("invalid_field", f"Attributes have {ATTRIBUTES_DEPTH} levels at most.", pointer(path))
        for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
            _check_values(inner, (*path, step))
    elif isinstance(value, float) and not math.isfinite(value):
        raise Refused("invalid_field", "This is not a number of JSON.", pointer(path))
