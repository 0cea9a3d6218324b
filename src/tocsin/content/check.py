"""The check at the door: a message that can never fit a provider is refused before anything is promised."""

from collections.abc import Iterable

from tocsin.providers.base import Provider, TooLarge
from tocsin.terms.errors import Refused
from tocsin.terms.handoffs import Message, Options


def check(message: Message, options: Options, providers: Iterable[Provider]) -> None:
    """Refuse (`payload_too_large`) a message that is over some provider's limit, whatever the device."""
    for provider in providers:
        try:
            provider.check_message(message, options)
        except TooLarge as reason:
            raise Refused(
                "payload_too_large", f"{provider.name}: {reason}", "/content", "Shorten body or data."
            ) from None
