"""What a caller may ask for: whom, what, and how; every limit stands here and in the API reference.

In: the JSON of POST /v1/notifications. Out: the target, the message and the options it means. Refuses targets that
contradict themselves, content with nothing in it, addresses that are not https, and keys that providers keep.
"""

from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from tocsin.terms.handoffs import Message, Options, Target
from tocsin.terms.outcomes import Class, OnAmbiguity
from tocsin.web import Body

MOST_RECIPIENTS: Final = 1000
"""Devices and users that one notification lists, together."""
LONGEST_TTL: Final = 2_419_200
"""Seconds: four weeks, the longest that FCM keeps a message."""
LONGEST_COLLAPSE_KEY: Final = 64
RESERVED: Final = ("from", "message_type")
RESERVED_PREFIXES: Final = ("google.", "gcm.notification.", "tocsin_")
"""Keys of `data` that FCM keeps for itself, and ours."""


def _https(url: str) -> str:
    """An absolute https URL without a user or password in it."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "https" and bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or " " in url:
        raise PydanticCustomError("not_https", "This takes an absolute https URL, such as https://example.com/x")
    return url


def _free_key(key: str) -> str:
    if key in RESERVED or key.startswith(RESERVED_PREFIXES):
        raise PydanticCustomError("reserved_key", "The key {key!r} is reserved; choose another one", {"key": key})
    return key


Id = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Https = Annotated[str, StringConstraints(max_length=2048), AfterValidator(_https)]
DataKey = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_free_key)]


class To(Body):
    """Whom: everybody (`all`), or the union of the listed devices and users."""

    model_config = ConfigDict(title="To")

    device: Id | None = Field(default=None, description="One device, by your id of it.")
    devices: list[Id] | None = Field(
        default=None, min_length=1, max_length=MOST_RECIPIENTS, description=f"Up to {MOST_RECIPIENTS} devices."
    )
    user: Id | None = Field(default=None, description="All devices of one user, by your id of them.")
    users: list[Id] | None = Field(
        default=None, min_length=1, max_length=MOST_RECIPIENTS, description=f"Up to {MOST_RECIPIENTS} users."
    )
    all: Literal[True] | None = Field(default=None, description="Every active device of the app.")

    @model_validator(mode="after")
    def _agree(self) -> "To":
        listed = len(self.listed_devices()) + len(self.listed_users())
        if self.all and listed:
            raise PydanticCustomError("target", "'all' takes no list of devices or users beside it")
        if not self.all and not listed:
            raise PydanticCustomError("target", "Name a device, devices, a user, users, or say all: true")
        if listed > MOST_RECIPIENTS:
            raise PydanticCustomError(
                "target", "A notification lists at most {most} devices and users", {"most": MOST_RECIPIENTS}
            )
        return self

    def listed_devices(self) -> tuple[str, ...]:
        """The devices named, each once, in the caller's order."""
        return tuple(dict.fromkeys([*([self.device] if self.device else []), *(self.devices or ())]))

    def listed_users(self) -> tuple[str, ...]:
        """The users named, each once, in the caller's order."""
        return tuple(dict.fromkeys([*([self.user] if self.user else []), *(self.users or ())]))

    def target(self) -> Target:
        """The target it means."""
        return Target(bool(self.all), self.listed_users(), self.listed_devices())


class Content(Body):
    """What: at least a title, a body or data."""

    model_config = ConfigDict(title="Content")

    title: str | None = None
    body: str | None = None
    image: Https | None = Field(default=None, description="An https URL.")
    link: Https | None = Field(default=None, description="What a tap opens: an https URL.")
    data: dict[DataKey, str] = Field(
        default_factory=dict,
        description="Texts for the app itself. The keys from, message_type, google.…, gcm.notification.… and tocsin_… "
        "are reserved.",
    )

    @model_validator(mode="after")
    def _say_something(self) -> "Content":
        if not (self.title or self.body or self.data):
            raise PydanticCustomError("empty", "Give at least a title, a body or data")
        return self

    def message(self) -> Message:
        """The message it means."""
        return Message(self.title, self.body, self.image, self.link, self.data)


class DeliveryOptions(Body):
    """How to weigh one thing against another."""

    model_config = ConfigDict(title="DeliveryOptions")

    on_ambiguity: Literal["resend", "drop"] = Field(
        default="resend",
        description="When nobody can know whether the provider took it: send again, and risk a second copy, or drop.",
    )
    lane_class: Literal["now", "bulk"] | None = Field(
        default=None,
        alias="class",
        description="`now` goes before `bulk`. A notification to all is always bulk, one to a list is now unless said.",
    )


class NotificationRequest(Body):
    """A notification, as asked for."""

    model_config = ConfigDict(
        title="NotificationRequest",
        json_schema_extra={
            "examples": [
                {"to": {"user": "u1"}, "content": {"title": "Hi", "body": "Your order is on its way."}},
                {"to": {"all": True}, "content": {"title": "News"}, "ttl": 3600, "collapse_key": "news"},
            ]
        },
    )

    to: To
    content: Content
    ttl: int = Field(
        default=LONGEST_TTL,
        ge=0,
        le=LONGEST_TTL,
        description="Seconds from acceptance in which it is worth delivering; 0: now or never.",
    )
    priority: Literal["high", "normal"] = Field(default="high", description="`normal` may wait for the device to wake.")
    collapse_key: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_COLLAPSE_KEY)] | None = Field(
        default=None, description="A later notification with the same key replaces this one where it still waits."
    )
    options: DeliveryOptions = Field(default_factory=DeliveryOptions)

    @model_validator(mode="after")
    def _all_is_bulk(self) -> "NotificationRequest":
        if self.to.all and self.options.lane_class == "now":
            raise PydanticCustomError("class", "A notification to all is bulk: leave options.class out")
        return self

    def chosen(self) -> Options:
        """The options it means."""
        derived = Class.BULK if self.to.all else Class.NOW
        return Options(
            ttl=self.ttl,
            priority=self.priority,
            collapse_key=self.collapse_key,
            on_ambiguity=OnAmbiguity(self.options.on_ambiguity),
            lane_class=Class(self.options.lane_class or derived),
        )


def stored_options(options: Options) -> dict[str, Any]:
    """The options as the notification's row keeps them."""
    return {
        "ttl": options.ttl,
        "priority": options.priority,
        "collapse_key": options.collapse_key,
        "on_ambiguity": options.on_ambiguity.value,
        "class": options.lane_class.value,
    }


def recalled_options(stored: dict[str, Any]) -> Options:
    """The options in a notification's row."""
    return Options(
        ttl=stored["ttl"],
        priority=stored["priority"],
        collapse_key=stored["collapse_key"],
        on_ambiguity=OnAmbiguity(stored["on_ambiguity"]),
        lane_class=Class(stored["class"]),
    )
